"""The watch's Deployment, with its config and its ServiceAccount."""

from daypass.render.door.network import to_api_server
from daypass.render.errors import RenderError
from daypass.render.names import GATE_WATCH
from daypass.render.objects import Object, new_object
from daypass.render.pod_config import CONFIG_FILE, CONFIG_FOLDER, config_mark, config_text
from daypass.render.pods import container_security, deployment, pod_security, probe, spread
from daypass.render.watcher.rights import rights
from daypass.spec import Config, Gate

REPLICAS = 2
"""One publishes; the other one has seen the same, and takes over within seconds."""
PORT = 9004
SELECTOR = {"app.kubernetes.io/name": GATE_WATCH}


def watcher_objects(config: Config, gate: Gate) -> list[Object]:
    """What keeps the gate of a cluster current. Raises RenderError where the config names no
    image.
    """
    if gate.image is None:
        raise RenderError(
            "the gate's watch needs an image, and none of daypass is published",
            "build one from the Containerfile, and write its name to gate.image",
        )
    namespace = config.door.namespace
    text = config_text(config)
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": dict(SELECTOR)}}
    policy = {
        "podSelector": {"matchLabels": dict(SELECTOR)},
        "policyTypes": ["Ingress", "Egress"],
        # What it serves are numbers and names of namespaces.
        "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
        "egress": to_api_server(config),
    }
    return [
        *rights(config, gate),
        new_object("v1", "ServiceAccount", GATE_WATCH, namespace),
        new_object("v1", "ConfigMap", GATE_WATCH, namespace, data={CONFIG_FILE: text}),
        deployment(GATE_WATCH, namespace, _pod(gate.image), config_mark(text), REPLICAS),
        new_object("policy/v1", "PodDisruptionBudget", GATE_WATCH, namespace, spec=budget),
        new_object("networking.k8s.io/v1", "NetworkPolicy", GATE_WATCH, namespace, spec=policy),
    ]


def _pod(image: str) -> Object:
    return {
        "serviceAccountName": GATE_WATCH,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 20,
        "securityContext": pod_security(),
        "topologySpreadConstraints": spread(SELECTOR),
        "containers": [_container(image)],
        "volumes": [{"name": "config", "configMap": {"name": GATE_WATCH}}],
    }


def _container(image: str) -> Object:
    return {
        "name": "watch",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "python", "-m", "daypass", "gate", "watch",
            "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}", "--listen", f"*:{PORT}",
        ],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [{"name": "status", "containerPort": PORT}],
        "startupProbe": probe("/healthz", "status", period=2, failures=30),
        "livenessProbe": probe("/healthz", "status", period=10, failures=3),
        "readinessProbe": probe("/readyz", "status", period=5, failures=3),
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "16Mi"},
            "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "64Mi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}],
    }  # fmt: skip
