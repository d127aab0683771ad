"""Names that lead past the gate: on the gateway that it guards, and without being guarded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from daypass.deploy.listed import (
    GATEWAY,
    GRPC_ROUTE,
    HTTP_ROUTE,
    ISTIO_GATEWAY,
    VIRTUAL_SERVICE,
    GroupKind,
    Listed,
)
from daypass.deploy.served import ANY, Served, by_routes, by_virtual_services, in_common
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import PODS, Object
from daypass.render.istio.settings import IstioGate
from daypass.spec import Config, Gate

NAME_THEM = (
    "guard every name with gate.hosts: ['*'], or name the hosts in that Gateway and in gate.hosts"
)
WHOLE_GATEWAY = "guard all of the Gateway: gate.gateway without a listener"

_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods that Istio makes for a Gateway of the Gateway API."""
_MOST_NAMED = 3

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The labels of the gateway's pods. `complete`: all of them, as seen; else the config's alone,
    and there may be others.
    """

    labels: Sequence[Labels]
    complete: bool

    def selected_by(self, selector: Labels) -> bool:
        """Whether a selector may choose one of them."""
        return any(
            all(
                labels.get(name) == value or not (self.complete or name in labels)
                for name, value in selector.items()
            )
            for labels in self.labels
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unguarded:
    """What was found: a line for each host of a gateway, and what to do about all of them."""

    lines: tuple[str, ...] = ()
    hint: str = ""


def kinds_of(gate: Gate | None) -> tuple[GroupKind, ...]:
    """The kinds that say it; none where nothing on that gateway can be past the gate."""
    if gate is None or gate.guards_every_host:
        return ()
    if gate.engine == "istio":
        return VIRTUAL_SERVICE, ISTIO_GATEWAY, HTTP_ROUTE, GRPC_ROUTE, GATEWAY
    in_part = gate.engine == "envoy-gateway" and (gate.gateway or "").count("/") == 2
    return (HTTP_ROUTE, GRPC_ROUTE, GATEWAY) if in_part else ()


def find_unguarded(cluster: Cluster, listed: Listed, config: Config) -> Unguarded:
    """Look at what was listed of the kinds that `kinds_of` names."""
    gate = config.gate
    if gate is None or not kinds_of(gate):
        return Unguarded()
    if gate.engine == "istio":
        settings = IstioGate.of(config, issuer="")
        pods = find_pods(cluster, settings.namespace, settings.labels)
        lines = by_another_name(on_istio(listed, settings.namespace, pods), gate.hosts)
        return Unguarded(lines=lines, hint=NAME_THEM if lines else "")
    namespace, name, listener = str(gate.gateway).split("/")

    def concerns(gateway: Object, other: Object) -> bool:
        metadata = gateway["metadata"]
        here = (metadata["namespace"], metadata["name"]) == (namespace, name)
        return bool(here and other["name"] != listener)

    lines = by_another_listener(by_routes(listed, concerns), gate.hosts, listener)
    return Unguarded(lines=lines, hint=WHOLE_GATEWAY if lines else "")


def find_pods(cluster: Cluster, namespace: str, labels: Labels) -> Pods:
    """The gateway's pods, if there are some, and if they may be seen."""
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    try:
        found = cluster.list(PODS, namespace, labels=selector, metadata_only=True)
    except ForbiddenError:
        found = []
    seen = [pod["metadata"].get("labels") or {} for pod in found]
    return Pods(labels=seen or [labels], complete=bool(seen))


def on_istio(listed: Listed, namespace: str, pods: Pods) -> list[Served]:
    """What Istio's gateway in a namespace serves, by its own kinds and by the Gateway API's."""
    names = {labels[_GATEWAY_NAME] for labels in pods.labels if _GATEWAY_NAME in labels}

    def concerns(gateway: Object, listener: Object) -> bool:
        metadata, spec = gateway["metadata"], gateway["spec"]
        made = metadata["namespace"] == namespace and metadata["name"] in names
        # Pods that somebody else has made are named by their Service: NAME.NAMESPACE.svc...
        services = (str(each.get("value")).split(".") for each in spec.get("addresses") or ())
        return made or any(service[1:2] == [namespace] for service in services)

    return [*by_virtual_services(listed, pods.selected_by), *by_routes(listed, concerns)]


def by_another_name(served: Iterable[Served], hosts: Collection[str]) -> tuple[str, ...]:
    """A line for each host that is not among `hosts`, and is a wildcard, or leads to a service that
    one of them leads to.
    """
    everything = list(served)
    guarded = {service for one in everything if one.host in hosts for service in one.leads_to}
    past = [
        one
        for one in everything
        if one.host not in hosts and ("*" in one.host or guarded & one.leads_to)
    ]
    return tuple(
        f"{_some(owners)} {_serve(owners)} {'any host' if host == ANY else host} on {gateway}; "
        f"gate.hosts names only {_some(hosts)}: whoever asks by "
        f"{'another name' if '*' in host else 'that name'} isn't checked"
        for (gateway, host), owners in _grouped(past).items()
    )


def by_another_listener(
    served: Iterable[Served], hosts: Collection[str], listener: str
) -> tuple[str, ...]:
    """A line for each of `hosts`, or a wildcard for it, that other listeners serve as well."""
    past = [one for one in served if any(in_common(one.host, host) for host in hosts)]
    return tuple(
        f"{_some(owners)} {_serve(owners)} {'any host' if host == ANY else host} on {gateway}, "
        f"too; gate.gateway names only the listener {listener}: whoever asks there isn't checked"
        for (gateway, host), owners in _grouped(past).items()
    )


def _grouped(served: Iterable[Served]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for one in served:
        found.setdefault((one.gateway, one.host), set()).add(one.owner)
    return {key: sorted(found[key]) for key in sorted(found)}


def _serve(owners: Collection[str]) -> str:
    return "serves" if len(owners) == 1 else "serve"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    if more > 1:
        listed = [*listed[:_MOST_NAMED], f"{more} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
