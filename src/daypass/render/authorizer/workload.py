"""The authorizer's Deployment, with its config."""

from daypass.render.authorizer.network import (
    PORT,
    SELECTOR,
    STATUS_PORT,
    gateway_namespace,
    network_policy,
    service,
)
from daypass.render.authorizer.rights import rights
from daypass.render.certificates import gate_certificates
from daypass.render.errors import RenderError
from daypass.render.names import GATE, GATE_PAIR
from daypass.render.objects import Object, new_object
from daypass.render.pod_config import CONFIG_FILE, CONFIG_FOLDER, config_mark, config_text
from daypass.render.pods import container_security, deployment, pod_security, probe, spread
from daypass.render.scaling import autoscaler, disruption_budget
from daypass.spec import Config, Gate

PAIR_FOLDER = "/etc/daypass-tls"
LEAVE_SECONDS = 20
"""How long a pod that ends goes on, while gateways hear of it."""


def authorizer_objects(config: Config, gate: Gate) -> list[Object]:
    """What gateways ask; nothing where the check asks nobody. Raises RenderError where the config
    names no image.
    """
    if gate.check == "jwt":
        return []
    if gate.image is None:
        raise RenderError(
            "the gate's authorizer needs an image, and none of daypass is published",
            "build one from the Containerfile, and write its name to gate.image",
        )
    namespace = config.door.namespace
    text = config_text(config)
    # Envoy Gateway takes the authority from a ConfigMap, which no issuer gives.
    trusting = {gateway_namespace(gate)} if gate.engine == "istio" else set()
    return [
        *rights(namespace),
        *gate_certificates(config, trusting),
        new_object("v1", "ConfigMap", GATE, namespace, data={CONFIG_FILE: text}),
        deployment(GATE, namespace, _pod(gate.image), config_mark(text)),
        service(namespace),
        network_policy(config, gate),
        disruption_budget(GATE, namespace),
        autoscaler(GATE, namespace, gate.replicas),
    ]


def _pod(image: str) -> Object:
    pair = {
        "secretName": GATE_PAIR,
        "defaultMode": 0o440,
        "items": [{"key": key, "path": key} for key in ("tls.crt", "tls.key")],
    }
    return {
        "serviceAccountName": GATE,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": LEAVE_SECONDS + 10,
        "securityContext": pod_security(),
        "topologySpreadConstraints": spread(SELECTOR),
        "containers": [_container(image)],
        "volumes": [
            {"name": "config", "configMap": {"name": GATE}},
            {"name": "tls", "secret": pair},
        ],
    }


def _container(image: str) -> Object:
    return {
        "name": "authorizer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "python", "-m", "daypass", "gate", "serve",
            "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}",
            "--listen", f"*:{PORT}", "--status", f"*:{STATUS_PORT}",
            "--certificate", f"{PAIR_FOLDER}/tls.crt", "--key", f"{PAIR_FOLDER}/tls.key",
            "--drain", f"{LEAVE_SECONDS}s",
        ],
        "ports": [
            {"name": "https", "containerPort": PORT},
            {"name": "status", "containerPort": STATUS_PORT},
        ],
        "startupProbe": probe("/healthz", "status", period=2, failures=30),
        "livenessProbe": probe("/healthz", "status", period=10, failures=3),
        "readinessProbe": probe("/readyz", "status", period=5, failures=3),
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "16Mi"},
            "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "64Mi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "tls", "mountPath": PAIR_FOLDER, "readOnly": True},
        ],
    }  # fmt: skip
