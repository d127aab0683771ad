"""lightkube: `python with_lightkube.py https://10.0.0.1:6443 ca.crt team`.

DAYPASS_CREDENTIALS names the credentials file. The API server must be reachable, and the
policy must allow tokens for it: its audience is its issuer, such as https://kubernetes.default.svc.
"""

import os
import sys

import daypass
import daypass.integrations.httpx2
from lightkube import Client, KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.resources.core_v1 import ConfigMap

host, authority, namespace = sys.argv[1:]
audience = os.environ.get("AUDIENCE", "https://kubernetes.default.svc")

cluster = Cluster(server=host, certificate_auth=authority)
with Client(KubeConfig.from_one(cluster=cluster, user=User()), namespace=namespace) as client:
    credentials = daypass.Credentials.load()
    # lightkube has no parameter for it; the client of httpx2 that it wraps has one.
    auth = daypass.integrations.httpx2.Auth(credentials, audience)
    client._client._client.auth = auth  # pyright: ignore[reportPrivateUsage]
    for item in client.list(ConfigMap):
        print(item.metadata.name if item.metadata else "")
