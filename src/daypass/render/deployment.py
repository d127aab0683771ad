"""The record of a Deployment, and the objects that it becomes in a cluster.

Pods run under Pod Security `restricted`, behind a NetworkPolicy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from daypass._core.kubernetes.labels import APP_NAME, CONFIG_HASH
from daypass._core.kubernetes.objects import Object, new_object
from daypass._core.net import is_address
from daypass.config import Config
from daypass.config.settings import POD_FIELDS, Pod
from daypass.render.names import SERVICE_PORT

_USER = 65532
"""`nonroot` of a distroless image."""
_GROWTH = 4
"""An autoscaler's most replicas, as a multiple of the least. Limits of a replica grow with it."""
_API_SERVER_PORTS = (443, 6443)
"""Of the Service, and behind it: a NetworkPolicy applies after the address was translated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What kubelet requests over HTTP, at the named port."""

    port: str
    alive: str
    ready: str
    startup_seconds: int
    """Between two requests until the container is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A Deployment of one container, and the objects that go with it under its name.

    - `files`: the ConfigMap; other ones replace the pods.
    - `ports`: container ports by name; one that is called `https` gets a Service.
    - `rules`: ingress rules of the NetworkPolicy.
    - `chosen`: what the config says about the pods, in Kubernetes' own form.
    - `mounts`: volumes as (name, path, source); all but an emptyDir are read-only.
    - `is_autoscaled`: by CPU, from `replicas` up; otherwise `replicas` is the number of pods.
    """

    name: str
    namespace: str
    container: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str]
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
    chosen: Pod
    replicas: int
    is_autoscaled: bool = True
    service_annotations: Mapping[str, str] = field(default_factory=dict)

    def objects(self, config: Config) -> list[Object]:
        """Return everything but RBAC."""
        no_token: Object = {} if self.has_token else {"automountServiceAccountToken": False}
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
        for each in objects:
            self._label(each["metadata"])
        return objects

    def _label(self, metadata: Object) -> None:
        """Add the labels of the config. No selector has them: selectors can't be changed."""
        metadata["labels"] = {**self.chosen.get("labels", {}), **metadata["labels"]}

    @property
    def _selector(self) -> dict[str, str]:
        return {APP_NAME: self.name}

    def _deployment(self) -> Object:
        labels = {
            **self._selector,
            # They terminate TLS themselves; a sidecar must not read the traffic.
            "istio.io/dataplane-mode": "none",
            "sidecar.istio.io/inject": "false",
        }
        texts = "".join(f"{name}\0{text}\0" for name, text in self.files.items())
        digest = sha256(texts.encode()).hexdigest()[:16]
        metadata = {"annotations": {CONFIG_HASH: digest}, "labels": labels}
        self._label(metadata)
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
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
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
            **{key: value for key, value in self.chosen.items() if key in POD_FIELDS},
        }

    def _container(self) -> Object:
        probes = self.probes
        env = [{"name": name, "value": value} for name, value in self.env.items()]
        # Envoy exits at once on a signal: open requests need time before.
        pre_stop = {"preStop": {"sleep": {"seconds": self.pre_stop_seconds}}}
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
            "resources": self._resources(),
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

    def _resources(self) -> Object:
        request, limit = self.cpu
        requests = {"cpu": request, "memory": "128Mi", "ephemeral-storage": "16Mi"}
        limits = {"cpu": limit, "memory": "512Mi", "ephemeral-storage": self.disk}
        chosen = self.chosen.get("resources", {})
        return {
            "requests": requests | chosen.get("requests", {}),
            "limits": limits | chosen.get("limits", {}),
        }

    def _service(self) -> Object:
        # Traefik and others speak TLS to a port of this name.
        port = {"name": "https", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "https"}
        spec = {"type": "ClusterIP", "selector": self._selector, "ports": [port]}
        annotations = dict(self.service_annotations)
        return new_object(
            "v1", "Service", self.name, self.namespace, annotations=annotations, spec=spec
        )

    def _network_policy(self, config: Config) -> Object:
        spec = {
            "podSelector": {"matchLabels": self._selector},
            "policyTypes": ["Ingress", "Egress"],
            # The API server drops an empty list: each apply would be a change.
            **({"ingress": list(self.rules)} if self.rules else {}),
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


def _probe(port: str, path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _to_api_server(config: Config) -> list[Object]:
    cluster = config.cluster
    addresses = set(cluster.addresses)
    rules: list[Object] = []
    if is_address(cluster.server_host):
        addresses.add(cluster.server_host)
    else:
        rules.append({"ports": [network_port(53, "UDP"), network_port(53)]})
    ports = sorted({cluster.server_port, *_API_SERVER_PORTS})
    rule: Object = {"ports": [network_port(port) for port in ports]}
    if addresses:
        rule["to"] = [
            {"ipBlock": {"cidr": f"{address}/{128 if ':' in address else 32}"}}
            for address in sorted(addresses)
        ]
    return [*rules, rule]


def network_port(port: int, protocol: str = "TCP") -> Object:
    """Return a port of a rule in a NetworkPolicy."""
    return {"port": port, "protocol": protocol}
