"""The door's Deployment, with its ConfigMap and its ServiceAccount."""

import hashlib

from daypass.render.door.config import (
    AUTHORITY_FOLDER,
    BOOTSTRAP,
    CONFIG_FOLDER,
    HTTPS_PORT,
    PAIR_FOLDER,
    RUN_FOLDER,
)
from daypass.render.door.image import IMAGE
from daypass.render.door.probes import ALIVE, PROBE_PORT, READY
from daypass.render.names import API_SERVER_AUTHORITY, CLUSTER_AUTHORITY, DOOR, DOOR_PAIR
from daypass.render.objects import Object, new_object
from daypass.render.pod_config import CONFIG_HASH
from daypass.render.pods import container_security, deployment, pod_security, probe, spread
from daypass.spec import Config

SELECTOR = {"app.kubernetes.io/name": DOOR}
ENVOY_WORKERS = 2
LEAVE_SECONDS = 20
"""From the decision to end a pod to Envoy's end. In the meantime the fronts hear of it, and what is
under way comes to its end: a request has 10 s to arrive, and the API server 15 s to answer it."""


def workload(config: Config, files: dict[str, str], authority_pem: str) -> list[Object]:
    """What runs. `files`: the ConfigMap's; `authority_pem`: the API server's, if the config names
    one.
    """
    namespace = config.door.namespace
    own_authority = config.cluster.certificate_authority is not None
    authority = API_SERVER_AUTHORITY if own_authority else CLUSTER_AUTHORITY
    objects = [
        new_object("v1", "ConfigMap", DOOR, namespace, data=files),
        new_object("v1", "ServiceAccount", DOOR, namespace, automountServiceAccountToken=False),
        deployment(DOOR, namespace, _pod(authority), {CONFIG_HASH: _digest(files)}),
    ]
    if own_authority:
        data = {"ca.crt": authority_pem}
        objects.append(new_object("v1", "ConfigMap", API_SERVER_AUTHORITY, namespace, data=data))
    return objects


def _digest(files: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def _pod(authority: str) -> Object:
    return {
        "serviceAccountName": DOOR,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": LEAVE_SECONDS + 10,
        "securityContext": pod_security(),
        "topologySpreadConstraints": spread(SELECTOR),
        "containers": [_container()],
        "volumes": [
            {"name": "config", "configMap": {"name": DOOR}},
            {
                "name": "tls",
                "secret": {
                    "secretName": DOOR_PAIR,
                    "defaultMode": 0o440,
                    "items": [{"key": key, "path": key} for key in ("tls.crt", "tls.key")],
                },
            },
            {
                "name": "authority",
                "configMap": {"name": authority, "items": [{"key": "ca.crt", "path": "ca.crt"}]},
            },
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }


def _container() -> Object:
    return {
        "name": "envoy",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/envoy"],
        "args": [
            *("--config-path", f"{CONFIG_FOLDER}/{BOOTSTRAP}"),
            *("--concurrency", str(ENVOY_WORKERS)),
            *("--log-level", "warning"),
            "--disable-hot-restart",
        ],
        "ports": [
            {"name": "https", "containerPort": HTTPS_PORT},
            {"name": "probe", "containerPort": PROBE_PORT},
        ],
        "startupProbe": probe(ALIVE, "probe", period=1, failures=30),
        "livenessProbe": probe(ALIVE, "probe", period=10, failures=3),
        "readinessProbe": probe(READY, "probe", period=5, failures=3),
        # Envoy ends at once when it is told to: what is under way needs the time before.
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "16Mi"},
            "limits": {"cpu": str(ENVOY_WORKERS), "memory": "512Mi", "ephemeral-storage": "256Mi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "tls", "mountPath": PAIR_FOLDER, "readOnly": True},
            {"name": "authority", "mountPath": AUTHORITY_FOLDER, "readOnly": True},
            {"name": "run", "mountPath": RUN_FOLDER},
        ],
    }
