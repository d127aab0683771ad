"""The official Kubernetes client: `python with_kubernetes.py https://10.0.0.1:6443 ca.crt team`.

DAYPASS_CREDENTIALS names the credentials file. The API server must be reachable, and the
policy must allow tokens for it: its audience is its issuer, such as https://kubernetes.default.svc.
"""

import os
import sys

import daypass
import daypass.integrations.kubernetes
from kubernetes import client

host, authority, namespace = sys.argv[1:]
audience = os.environ.get("AUDIENCE", "https://kubernetes.default.svc")

configuration = client.Configuration(host=host)
configuration.ssl_ca_cert = authority
credentials = daypass.Credentials.load()
daypass.integrations.kubernetes.authorize(configuration, credentials, audience=audience)
with client.ApiClient(configuration) as api:
    for item in client.CoreV1Api(api).list_namespaced_config_map(namespace).items:
        print(item.metadata.name if item.metadata else "")
