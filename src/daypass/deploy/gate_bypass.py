"""Hosts that bypass the gate: served on the gateway that it guards, without being guarded.

An object and its gateway count together: a VirtualService for any host on a Gateway for one host
serves that one. A route that only redirects serves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, ok, skipped, warning
from daypass._core.labels import is_ours
from daypass._core.objects import Object
from daypass.config import Config, Gate
from daypass.deploy.routes import (
    GATEWAY,
    GRPC_ROUTE,
    HTTP_ROUTE,
    ISTIO_GATEWAY,
    VIRTUAL_SERVICE,
    GroupKind,
    ListedObjects,
    list_all,
    owner_of,
    path_of,
)
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import PODS
from daypass.render.istio.settings import IstioGate

ANY = "*"
_WEB = ("HTTP", "HTTPS")
NAME_THEM = (
    "guard every name with gate.hosts: ['*'], or name the hosts in that Gateway and in gate.hosts"
)
_WHOLE_GATEWAY = "guard all of the Gateway: gate.gateway without a listener"
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods that Istio makes for a Gateway of the Gateway API."""
_MOST_NAMED = 3
_GATE_HOSTS = "gate-hosts"
_QUESTION = "whether other names lead past the gate"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOwner:
    """A host (or `*`, `*.example.com`) that `owner` adds to a gateway, and its services."""

    owner: str
    gateway: str
    host: str
    leads_to: frozenset[str]


def _by_virtual_services(
    listed: ListedObjects, selects: Callable[[Object], bool]
) -> Iterator[HostOwner]:
    """Yield what Istio Gateways serve whose selector `selects` the gateway's pods."""
    gateways = {
        path_of(gateway): gateway
        for gateway in listed.of(ISTIO_GATEWAY)
        if selects((gateway.get("spec") or {}).get("selector") or {})
    }
    for service in listed.of(VIRTUAL_SERVICE):
        leads_to = frozenset(_destinations(service))
        if is_ours(service) or not leads_to:
            continue
        spec, here = service["spec"], service["metadata"]["namespace"]
        for reference in spec.get("gateways") or ():
            if gateway := gateways.get(_gateway_named(reference, here)):
                hosts = _common(spec.get("hosts") or (), _hosts_for(gateway, here))
                yield from _owners(service, owner_of(gateway), hosts, leads_to)


def by_routes(
    listed: ListedObjects, concerns: Callable[[Object, Object], bool]
) -> Iterator[HostOwner]:
    """Yield what Gateway API listeners serve for which `concerns(gateway, listener)`."""
    gateways = {path_of(gateway): gateway for gateway in listed.of(GATEWAY)}
    for route in [*listed.of(HTTP_ROUTE), *listed.of(GRPC_ROUTE)]:
        leads_to = frozenset(_backends(route))
        if is_ours(route) or not leads_to:
            continue
        spec, here = route["spec"], route["metadata"]["namespace"]
        for parent in spec.get("parentRefs") or ():
            gateway = gateways.get(f"{parent.get('namespace', here)}/{parent['name']}")
            if gateway is None or parent.get("kind", "Gateway") != "Gateway":
                continue
            for listener in gateway["spec"].get("listeners") or ():
                if _is_meant(parent, listener) and concerns(gateway, listener):
                    where = f"{owner_of(gateway)}, listener {listener['name']}"
                    hosts = spec.get("hostnames") or [ANY]
                    both = _common(hosts, [listener.get("hostname") or ANY])
                    yield from _owners(route, where, both, leads_to)


def _owners(
    route: Object, gateway: str, hosts: Iterable[str], leads_to: frozenset[str]
) -> Iterator[HostOwner]:
    for host in hosts:
        yield HostOwner(owner=owner_of(route), gateway=gateway, host=host, leads_to=leads_to)


def in_common(one: str, other: str) -> str | None:
    """Return the hosts that two names or wildcards have in common, or None."""
    if one in (ANY, other):
        return other
    if other == ANY:
        return one
    if one.startswith("*.") and other.endswith(one[1:]):
        return other
    return one if other.startswith("*.") and one.endswith(other[1:]) else None


def _common(some: Sequence[str], others: Sequence[str]) -> list[str]:
    both = (in_common(one.lower(), other.lower()) for one in some for other in others)
    return sorted({host for host in both if host is not None})


def _gateway_named(reference: str, namespace: str) -> str:
    """Return NAMESPACE/NAME for a VirtualService's reference to a Gateway: `NAME`, `./NAME`,
    `NAMESPACE/NAME`, `NAME.NAMESPACE.svc.cluster.local` (resolveGatewayName in pilot/pkg/model).
    """
    whose, slash, name = reference.partition("/")
    if slash:
        return f"{namespace if whose == '.' else whose}/{name}"
    name, dot, rest = reference.partition(".")
    return f"{rest.partition('.')[0] if dot else namespace}/{name}"


def _hosts_for(gateway: Object, namespace: str) -> list[str]:
    """Return the hosts (`NAMESPACE/HOST`, `./HOST`, `HOST`) of a Gateway for a namespace."""
    hosts = []
    for server in (gateway.get("spec") or {}).get("servers") or ():
        protocol = (server.get("port") or {}).get("protocol", "")
        if (server.get("tls") or {}).get("httpsRedirect") or protocol in ("TCP", "TLS"):
            continue
        for name in server.get("hosts") or ():
            whose, slash, host = name.rpartition("/")
            whose = gateway["metadata"]["namespace"] if whose == "." else whose
            if not slash or whose in (ANY, namespace):
                hosts.append(host)
    return hosts


def _destinations(service: Object) -> Iterator[str]:
    here = service["metadata"]["namespace"]
    for http in (service.get("spec") or {}).get("http") or ():
        if delegate := http.get("delegate"):
            yield f"VirtualService {delegate.get('namespace', here)}/{delegate.get('name')}"
        for route in http.get("route") or ():
            host = str(route["destination"]["host"])
            yield (
                host.removesuffix(".cluster.local").removesuffix(".svc")
                if "." in host
                else (f"{host}.{here}")
            )


def _backends(route: Object) -> Iterator[str]:
    here = route["metadata"]["namespace"]
    for rule in (route.get("spec") or {}).get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            kind = backend.get("kind", "Service")
            name = f"{backend['name']}.{backend.get('namespace', here)}"
            yield name if kind == "Service" else f"{kind} {name}"


def _is_meant(parent: Object, listener: Object) -> bool:
    """Return whether a route's reference to a Gateway includes this listener."""
    return (
        listener.get("protocol") in _WEB
        and parent.get("sectionName") in (None, listener["name"])
        and parent.get("port") in (None, listener.get("port"))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The labels of the gateway's pods. `complete`: as listed; else only those of the config."""

    labels: Sequence[Labels]
    complete: bool

    def selected_by(self, selector: Labels) -> bool:
        """Return whether a selector may select one of them."""
        return any(
            all(
                labels.get(name) == value or not (self.complete or name in labels)
                for name, value in selector.items()
            )
            for labels in self.labels
        )


def kinds_of(gate: Gate | None) -> tuple[GroupKind, ...]:
    """Return the kinds to list; none if nothing on that gateway can bypass the gate."""
    if gate is None or gate.guards_every_host:
        return ()
    if gate.engine == "istio":
        return VIRTUAL_SERVICE, ISTIO_GATEWAY, HTTP_ROUTE, GRPC_ROUTE, GATEWAY
    in_part = gate.engine == "envoy-gateway" and (gate.gateway or "").count("/") == 2
    return (HTTP_ROUTE, GRPC_ROUTE, GATEWAY) if in_part else ()


def find_gate_bypass(cluster: Cluster, listed: ListedObjects, config: Config) -> list[Finding]:
    """Return the hosts that bypass the gate, by the listed objects of `kinds_of`."""
    gate = config.gate
    if gate is None or not kinds_of(gate):
        return []
    if gate.engine == "istio":
        settings = IstioGate.of(config, issuer="")
        pods = _find_pods(cluster, settings.namespace, settings.labels)
        lines = by_another_name(on_istio(listed, settings.namespace, pods), gate.hosts)
        return [warning(_GATE_HOSTS, line, NAME_THEM) for line in lines]
    namespace, name, listener = str(gate.gateway).split("/")

    def concerns(gateway: Object, other: Object) -> bool:
        return path_of(gateway) == f"{namespace}/{name}" and other["name"] != listener

    lines = by_another_listener(by_routes(listed, concerns), gate.hosts, listener)
    return [warning(_GATE_HOSTS, line, _WHOLE_GATEWAY) for line in lines]


def _find_pods(cluster: Cluster, namespace: str, labels: Labels) -> Pods:
    """Return the gateway's pods, if there are some and the user may list them."""
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    try:
        found = cluster.list(PODS, namespace, labels=selector, metadata_only=True)
    except ForbiddenError:
        found = []
    seen = [pod["metadata"].get("labels") or {} for pod in found]
    return Pods(labels=seen or [labels], complete=bool(seen))


def on_istio(listed: ListedObjects, namespace: str, pods: Pods) -> list[HostOwner]:
    """Return what Istio's gateway in a namespace serves, by Istio and Gateway API kinds."""
    names = {labels[_GATEWAY_NAME] for labels in pods.labels if _GATEWAY_NAME in labels}

    def concerns(gateway: Object, listener: Object) -> bool:
        metadata, spec = gateway["metadata"], gateway["spec"]
        made = metadata["namespace"] == namespace and metadata["name"] in names
        # A gateway that Istio did not make is named by its Service: NAME.NAMESPACE.svc...
        services = (str(each.get("value")).split(".") for each in spec.get("addresses") or ())
        return made or any(service[1:2] == [namespace] for service in services)

    return [*_by_virtual_services(listed, pods.selected_by), *by_routes(listed, concerns)]


def by_another_name(served: Iterable[HostOwner], hosts: Collection[str]) -> tuple[str, ...]:
    """Return a line for each host outside `hosts` that is a wildcard or shares a service."""
    everything = list(served)
    guarded = {service for one in everything if one.host in hosts for service in one.leads_to}
    past = [
        one
        for one in everything
        if one.host not in hosts and ("*" in one.host or guarded & one.leads_to)
    ]
    only = f"gate.hosts names only {_some(hosts)}"
    return tuple(
        f"{line}; {only}: requests for {'other names' if '*' in host else 'that name'}"
        " aren't checked"
        for host, line in _lines(past)
    )


def by_another_listener(
    served: Iterable[HostOwner], hosts: Collection[str], listener: str
) -> tuple[str, ...]:
    """Return a line for each of `hosts` that other listeners serve too, also by a wildcard."""
    past = [one for one in served if any(in_common(one.host, host) for host in hosts)]
    only = f"gate.gateway names only the listener {listener}"
    return tuple(f"{line}, too; {only}: requests there aren't checked" for _, line in _lines(past))


def _lines(served: Iterable[HostOwner]) -> Iterator[tuple[str, str]]:
    """Yield each host, and a phrase that names its owners and their gateway."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in served:
        found.setdefault((one.gateway, one.host), set()).add(one.owner)
    for (gateway, host), owners in sorted(found.items()):
        serve = "serves" if len(owners) == 1 else "serve"
        name = "any host" if host == ANY else host
        yield host, f"{_some(sorted(owners))} {serve} {name} on {gateway}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    if more > 1:
        listed = [*listed[:_MOST_NAMED], f"{more} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return a finding about names that bypass the gate, if there can be any.

    `cluster`: None to look at no cluster.
    """
    gate = config.gate
    if gate is not None and gate.guards_every_host:
        return [ok(_GATE_HOSTS, "the gate guards every name")]
    if gate is None or not kinds_of(gate):
        return []
    if cluster is None:
        return [skipped(_GATE_HOSTS, f"{_QUESTION}: --kubeconfig FILE looks at the cluster")]
    try:
        listed = list_all(cluster, kinds_of(gate))
        found = find_gate_bypass(cluster, listed, config)
    except DaypassError as error:
        return [skipped(_GATE_HOSTS, f"{_QUESTION}: {error.fact}")]
    if found:
        return [warning(_GATE_HOSTS, "\n".join(each.fact for each in found), found[0].hint)]
    if listed.unseen:
        return [skipped(_GATE_HOSTS, f"{_QUESTION}: no right to list {', '.join(listed.unseen)}")]
    return [ok(_GATE_HOSTS, "no other name on that gateway leads to what it guards")]
