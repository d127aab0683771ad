"""Names of the door's objects, which fronts and whoever applies them refer to."""

from daypass.spec import Config

DOOR = "daypass-door"
"""Deployment, Service, ConfigMap and all else of the door's."""

DOOR_PAIR = "daypass-door-tls"
"""Secret: the certificate that the door shows to the fronts, its key, and `ca.crt` to trust it."""

DOOR_TRUST = "daypass-door-trust"
"""Secret or ConfigMap where a front looks for it: `ca.crt` alone."""

API_SERVER_AUTHORITY = "daypass-api-server-authority"
"""ConfigMap or Secret: `ca.crt`, which the API server's certificate is trusted by."""

CLUSTER_AUTHORITY = "kube-root-ca.crt"
"""ConfigMap with `ca.crt`, which Kubernetes keeps in every namespace."""

API_SERVER_NAMESPACE = "default"
"""Where the Service `kubernetes` is."""

SERVICE_PORT = 443


def door_host(config: Config) -> str:
    """What the door is called by the fronts, and what its certificate names.

    Without the domain of the cluster, so that it is the same in every cluster.
    """
    return f"{DOOR}.{config.door.namespace}.svc"
