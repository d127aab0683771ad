"""What gateways serve, by the objects of Istio, the Gateway API and Ingress.

An object and its gateway count together: a VirtualService for any host on a Gateway for one host
serves that one. A route that only redirects serves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daypass._core.kubernetes.labels import is_ours, selector
from daypass._core.kubernetes.objects import Object, group_of
from daypass._core.kubernetes.syntax import KSERVE_GROUP
from daypass.analysis.snapshot import (
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    INGRESSES,
    ISTIO_GATEWAYS,
    VIRTUAL_SERVICES,
    ObjectQuery,
    Snapshot,
    owner_of,
    path_of,
)
from daypass.config import ClusterGate, Config, EnvoyGatewayGate, IstioGate
from daypass.config.domain import GATEWAY_LABELS
from daypass.rules.models import MODEL_HEADERS

ANY = "*"
HANDED_OVER = "handed-over-to-daypass"
"""The class of an Ingress that no controller serves any more: `init --adopt` writes it."""
_ISTIO_CLASS = "IngressClass istio"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods that Istio makes for a Gateway of the Gateway API."""
_LITERAL = re.compile(r"\^?((?:(?:[\w/~%-]|\\[^\w])(?![?*{]))*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRoute:
    """A host (or `*`, `*.example.com`) that `owner` adds to a gateway, and its services.

    `namespace`: the owner's. `is_ours`: it has daypass's labels, which anybody can write.
    `is_models`: KServe has made it for a model. `paths`: the beginnings of its paths: `/` gives way
    to the longer ones of other routes, the empty one may not.
    """

    owner: str
    namespace: str
    gateway: str
    host: str
    leads_to: frozenset[str]
    is_ours: bool
    is_models: bool
    paths: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A host of a Gateway. `gateway`: NAMESPACE/NAME, in the Gateway API NAMESPACE/NAME/LISTENER.

    `document`: the Gateway.
    """

    gateway: str
    host: str
    has_tls: bool
    document: Object


def of_others(routes: Iterable[GatewayRoute], config: Config) -> Iterator[GatewayRoute]:
    """Yield what daypass has not made: anybody can write its labels, but not in its namespace."""
    own_namespace = config.door.namespace
    return (each for each in routes if not (each.is_ours and each.namespace == own_namespace))


def every_route(snapshot: Snapshot) -> set[GatewayRoute]:
    """Return what all gateways serve."""
    return {*virtual_services(snapshot), *gateway_routes(snapshot), *ingresses(snapshot)}


def routes_of(snapshot: Snapshot, gate: ClusterGate) -> set[GatewayRoute]:
    """Return what is served at the gateway of a gate."""
    if isinstance(gate, IstioGate):
        return _at_istio(snapshot, gate)
    assert isinstance(gate, EnvoyGatewayGate)  # noqa: S101 - there is no other kind
    place, listener = listener_of(gate)

    def concerns(gateway: Object, served: Object) -> bool:
        return path_of(gateway) == place and listener in (None, served["name"])

    return {*gateway_routes(snapshot, concerns)}


def listener_of(gate: EnvoyGatewayGate) -> tuple[str, str | None]:
    """Return NAMESPACE/NAME of the guarded Gateway, and its only guarded listener; None: all."""
    namespace, name, *listener = gate.gateway.split("/")
    return f"{namespace}/{name}", listener[0] if listener else None


def _at_istio(snapshot: Snapshot, gate: IstioGate) -> set[GatewayRoute]:
    """Return what Istio's gateway serves, by Istio and Gateway API kinds and by Ingresses."""
    own, namespace = dict(gate.gateway_labels), gate.gateway_namespace
    query = ObjectQuery("", "Pod", namespace, selector(own), metadata_only=True)
    seen = [each["metadata"].get("labels") or {} for each in snapshot.of(query)]
    names = {labels[_GATEWAY_NAME] for labels in seen or [own] if _GATEWAY_NAME in labels}

    def selected(wanted: Mapping[str, str]) -> bool:
        """Return whether a selector may select one of its Pods. Without them, only the labels in
        the config are known.
        """
        if not seen:
            return all(own.get(name, value) == value for name, value in wanted.items())
        return any(wanted.items() <= labels.items() for labels in seen)

    def concerns(gateway: Object, listener: Object) -> bool:
        metadata, spec = gateway["metadata"], gateway["spec"]
        made = metadata["namespace"] == namespace and metadata["name"] in names
        # A gateway that Istio did not make is named by its Service: NAME.NAMESPACE.svc...
        services = (str(each.get("value")).split(".") for each in spec.get("addresses") or ())
        return made or any(service[1:2] == [namespace] for service in services)

    found = {*virtual_services(snapshot, selected), *gateway_routes(snapshot, concerns)}
    if selected(GATEWAY_LABELS):
        found |= {each for each in ingresses(snapshot) if each.gateway == _ISTIO_CLASS}
    return found


def servers(snapshot: Snapshot) -> Iterator[Server]:
    """Yield the hosts of all Gateways, of Istio and of the Gateway API."""
    for gateway in snapshot.of(ISTIO_GATEWAYS):
        for server in (gateway.get("spec") or {}).get("servers") or ():
            tls = server.get("tls") or {}
            for host in server.get("hosts") or ():
                yield Server(
                    gateway=path_of(gateway),
                    host=host.rpartition("/")[2].lower(),
                    has_tls=bool(tls) and not tls.get("httpsRedirect"),
                    document=gateway,
                )
    for gateway in snapshot.of(GATEWAYS):
        for listener in (gateway.get("spec") or {}).get("listeners") or ():
            yield Server(
                gateway=f"{path_of(gateway)}/{listener['name']}",
                host=str(listener.get("hostname") or ANY).lower(),
                has_tls=listener.get("protocol") == "HTTPS",
                document=gateway,
            )


def gateway_routes(
    snapshot: Snapshot, concerns: Callable[[Object, Object], bool] = lambda *_: True
) -> Iterator[GatewayRoute]:
    """Yield what Gateway API listeners serve for which `concerns(gateway, listener)`."""
    gateways = {path_of(gateway): gateway for gateway in snapshot.of(GATEWAYS)}
    for route in [*snapshot.of(HTTP_ROUTES), *snapshot.of(GRPC_ROUTES)]:
        leads_to = frozenset(_backends(route))
        if not leads_to:
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
                    for host in _hosts_in_common(hosts, [listener.get("hostname") or ANY]):
                        yield _route(route, where, host, leads_to, _paths_of_rules(route))


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
        listener.get("protocol") in ("HTTP", "HTTPS")
        and parent.get("sectionName") in (None, listener["name"])
        and parent.get("port") in (None, listener.get("port"))
    )


def _paths_of_rules(route: Object) -> Iterator[str]:
    """Yield the beginnings of a route's paths. Of two routes, the one with the longer host takes
    precedence, and only then the one with the longer path. Those with a header are left out that
    gates with access by model refuse.
    """
    everything = "" if route["spec"].get("hostnames") else "/"
    for rule in route["spec"].get("rules") or ():
        matches: Sequence[Object] = rule.get("matches") or ({},)
        for match in matches:
            headers = match.get("headers") or ()
            if any(each["name"].lower() in MODEL_HEADERS for each in headers):
                continue
            path = match.get("path") or {}
            value = path.get("value", "/")
            if path.get("type") == "RegularExpression":
                value = literal_beginning(value)
                yield "" if value == "/" else value
            else:
                yield everything if value == "/" else f"{value.rstrip('/')}/"


def virtual_services(
    snapshot: Snapshot, selects: Callable[[Mapping[str, str]], bool] = lambda selector: True
) -> Iterator[GatewayRoute]:
    """Yield what Istio Gateways serve whose selector `selects` the gateway's pods."""
    gateways = {
        path_of(gateway): gateway
        for gateway in snapshot.of(ISTIO_GATEWAYS)
        if selects((gateway.get("spec") or {}).get("selector") or {})
    }
    for service in snapshot.of(VIRTUAL_SERVICES):
        leads_to = frozenset(_destinations(service))
        if not leads_to:
            continue
        spec, here = service["spec"], service["metadata"]["namespace"]
        for reference in spec.get("gateways") or ():
            if gateway := gateways.get(_gateway_named(reference, here)):
                hosts = _hosts_in_common(spec.get("hosts") or (), _hosts_for(gateway, here))
                for host in hosts:
                    if paths := set(_paths_of_matches(service, path_of(gateway), host)):
                        yield _route(service, owner_of(gateway), host, leads_to, paths)


def _paths_of_matches(service: Object, gateway: str, host: str) -> Iterator[str]:
    """Yield the beginnings of a VirtualService's paths on one of its hosts, at one of its gateways.

    Istio takes routes of the same host in the order of their age, but for those of every path
    without another condition, which come last (pilot/pkg/networking/core/route/route.go,
    SortVHostRoutes).
    """
    here = service["metadata"]["namespace"]
    for http in (service.get("spec") or {}).get("http") or ():
        matches: Sequence[Object] = http.get("match") or ({},)
        for match in matches:
            places = [_gateway_named(each, here) for each in match.get("gateways") or ()]
            if (places and gateway not in places) or not _may_match(match.get("authority"), host):
                continue
            ((how, path),) = (match.get("uri") or {"prefix": "/"}).items()
            if path in ("/", ".*") and not match.keys() - {"uri", "gateways", "name"}:
                yield "/"
                continue
            beginning = literal_beginning(path) if how == "regex" else path
            beginning = "" if beginning == "/" else beginning
            yield beginning.lower() if match.get("ignoreUriCase") else beginning


def _may_match(authority: Object | None, host: str) -> bool:
    """Return whether a StringMatch may match a host, or one of a wildcard."""
    for how, text in (authority or {}).items():
        beginning = literal_beginning(text) if how == "regex" else str(text)
        if ANY not in host and not host.startswith(beginning.lower()):
            return False
    return True


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
            short = host.removesuffix(".cluster.local").removesuffix(".svc")
            yield short if "." in host else f"{host}.{here}"


def ingresses(snapshot: Snapshot) -> Iterator[GatewayRoute]:
    """Yield the hosts of Ingresses of every class; KServe writes them in Standard mode."""
    for ingress in snapshot.of(INGRESSES):
        annotations = ingress["metadata"].get("annotations") or {}
        spec = ingress.get("spec") or {}
        name = spec.get("ingressClassName") or annotations.get(_CLASS_ANNOTATION)
        if name == HANDED_OVER:
            continue
        for rule in spec.get("rules") or ():
            listed = (rule.get("http") or {}).get("paths") or ()
            services = (each["backend"].get("service", {}).get("name") for each in listed)
            yield _route(
                ingress,
                f"IngressClass {name or 'by default'}",
                str(rule.get("host") or ANY).lower(),
                frozenset(f"{it}.{ingress['metadata']['namespace']}" for it in services),
                [_path_of_ingress(each, annotations) for each in listed],
            )


def _path_of_ingress(listed: Object, annotations: Mapping[str, str]) -> str:
    """Return the beginning of a path. ingress-nginx reads it as a pattern if annotations say so."""
    path, nginx = listed.get("path") or "/", "nginx.ingress.kubernetes.io"
    is_pattern = annotations.get(f"{nginx}/use-regex") == "true"
    if is_pattern or f"{nginx}/rewrite-target" in annotations:
        return literal_beginning(path).lower()
    return f"{path.rstrip('/')}/"


def _route(
    route: Object, gateway: str, host: str, leads_to: frozenset[str], paths: Iterable[str]
) -> GatewayRoute:
    metadata = route["metadata"]
    makers = (group_of(each["apiVersion"]) for each in metadata.get("ownerReferences") or ())
    return GatewayRoute(
        owner=owner_of(route),
        namespace=metadata["namespace"],
        gateway=gateway,
        host=host,
        leads_to=leads_to,
        is_ours=is_ours(route),
        is_models=KSERVE_GROUP in makers,
        paths=frozenset(paths),
    )


def literal_beginning(pattern: str) -> str:
    """Return how all texts begin that a pattern of RE2 matches; empty if that is not clear.

    A pattern of a tenant is never run here: it could take forever.
    """
    depth, is_escaped = 0, False
    for character in pattern:
        if character == "|" and not depth and not is_escaped:
            return ""
        depth += 0 if is_escaped else {"(": 1, ")": -1}.get(character, 0)
        is_escaped = character == "\\" and not is_escaped
    found = _LITERAL.match(pattern)
    return "" if found is None else re.sub(r"\\(.)", r"\1", found[1])


def in_common(one: str, other: str) -> str | None:
    """Return the hosts that two names or wildcards have in common, or None."""
    if one in (ANY, other):
        return other
    if other == ANY:
        return one
    if one.startswith("*.") and other.endswith(one[1:]):
        return other
    return one if other.startswith("*.") and one.endswith(other[1:]) else None


def _hosts_in_common(some: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the hosts that two lists of names or wildcards have in common."""
    both = (in_common(one.lower(), other.lower()) for one in some for other in others)
    return sorted({host for host in both if host is not None})
