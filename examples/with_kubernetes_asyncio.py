"""kubernetes_asyncio: `python with_kubernetes_asyncio.py https://10.0.0.1:6443 ca.crt team`.

DAYPASS_CREDENTIALS names the credentials file. The API server must be reachable, and the
policy must allow tokens for it: its audience is its issuer, such as https://kubernetes.default.svc.
"""

import asyncio
import os
import sys

import daypass
from kubernetes_asyncio import client

audience = os.environ.get("AUDIENCE", "https://kubernetes.default.svc")


async def main(host: str, authority: str, namespace: str) -> None:
    configuration = client.Configuration(host=host)
    configuration.ssl_ca_cert = authority
    credentials = daypass.Credentials.load()

    async def refresh(configuration: client.Configuration) -> None:
        headers = await credentials.headers_async(audience)
        configuration.api_key["BearerToken"] = headers["Authorization"]

    configuration.api_key["BearerToken"] = ""  # the hook is called only if the key exists
    configuration.refresh_api_key_hook = refresh
    async with client.ApiClient(configuration) as api:
        for item in (await client.CoreV1Api(api).list_namespaced_config_map(namespace)).items:
            print(item.metadata.name)


asyncio.run(main(*sys.argv[1:]))
