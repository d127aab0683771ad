"""What Istio's gateway serves, and what bypasses a gate there: other names that lead to the
services it guards.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daypass._core.kubernetes.objects import Object
from daypass.config.domain import GATEWAY_LABELS
from daypass.render.engines.bypass import (
    ANY,
    HostOwner,
    describe_hosts,
    host_owner,
    hosts_in_common,
    join_names,
    literal_beginning,
    read_routes,
)
from daypass.render.fronts.ingress_controller import INGRESS, class_of
from daypass.render.fronts.istio import (
    GATEWAY_POD,
    GATEWAY_SERVICE,
    ISTIO_GATEWAY,
    VIRTUAL_SERVICE,
)
from daypass.render.fronts.routes import ListedObjects, owner_of, path_of
from daypass.rules.patterns import HostPattern

_ISTIO_CLASS = "IngressClass istio"
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods that Istio makes for a Gateway of the Gateway API."""

Labels = Mapping[str, str]


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


def unguarded_names(listed: ListedObjects, hosts: Collection[str]) -> tuple[str, ...]:
    """Return a line for each name that would bypass a gate for these hosts, on any gateway."""
    seen = [each["metadata"].get("labels") or {} for each in listed.of(GATEWAY_POD)]
    pods = Pods(labels=seen or [GATEWAY_LABELS], complete=bool(seen))
    namespaces = {each["metadata"]["namespace"] for each in listed.of(GATEWAY_SERVICE)}
    served = {each for name in namespaces for each in read_gateway(listed, name, pods)}
    return report_other_names(served, hosts)


def read_gateway(listed: ListedObjects, namespace: str, pods: Pods) -> list[HostOwner]:
    """Return what Istio's gateway in a namespace serves, by Istio and Gateway API kinds."""
    names = {labels[_GATEWAY_NAME] for labels in pods.labels if _GATEWAY_NAME in labels}

    def concerns(gateway: Object, listener: Object) -> bool:
        metadata, spec = gateway["metadata"], gateway["spec"]
        made = metadata["namespace"] == namespace and metadata["name"] in names
        # A gateway that Istio did not make is named by its Service: NAME.NAMESPACE.svc...
        services = (str(each.get("value")).split(".") for each in spec.get("addresses") or ())
        return made or any(service[1:2] == [namespace] for service in services)

    served = [*read_virtual_services(listed, pods.selected_by), *read_routes(listed, concerns)]
    if pods.selected_by(GATEWAY_LABELS):
        served += (one for one in read_ingresses(listed) if one.gateway == _ISTIO_CLASS)
    return served


def name_them(key: str, *, has_audiences: bool = False) -> str:
    """Return what to do about other names. `key`: the gate's, in the config.

    `has_audiences`: a route for any host is then to be named, even if every name is guarded.
    """
    named = f"name the hosts in that Gateway and in {key}.hosts"
    return named if has_audiences else f"guard every name with {key}.hosts: ['*'], or {named}"


def report_other_names(
    served: Iterable[HostOwner], hosts: Collection[str], key: str = "gate"
) -> tuple[str, ...]:
    """Return a line for each host that `hosts` do not guard and that is a wildcard or shares a
    service. `key`: the gate's, in the config.
    """
    patterns, guarded, others = [HostPattern.parse(host) for host in hosts], set[str](), []
    for one in served:
        if any(pattern.is_near(one.host.replace(ANY, "any-host")) for pattern in patterns):
            guarded |= one.leads_to
        else:
            others.append(one)
    past = [one for one in others if ANY in one.host or guarded & one.leads_to]
    only = f"{key}.hosts names only {join_names(hosts)}"
    return tuple(
        f"{line}; {only}: requests for {names} aren't checked"
        for names, line in describe_hosts(past)
    )


def read_virtual_services(
    listed: ListedObjects, selects: Callable[[Object], bool] = lambda selector: True
) -> Iterator[HostOwner]:
    """Yield what Istio Gateways serve whose selector `selects` the gateway's pods."""
    gateways = {
        path_of(gateway): gateway
        for gateway in listed.of(ISTIO_GATEWAY)
        if selects((gateway.get("spec") or {}).get("selector") or {})
    }
    for service in listed.of(VIRTUAL_SERVICE):
        leads_to = frozenset(_destinations(service))
        if not leads_to:
            continue
        spec, here = service["spec"], service["metadata"]["namespace"]
        for reference in spec.get("gateways") or ():
            if gateway := gateways.get(_gateway_named(reference, here)):
                hosts = hosts_in_common(spec.get("hosts") or (), _hosts_for(gateway, here))
                for host in hosts:
                    if paths := set(_paths(service, path_of(gateway), host)):
                        yield host_owner(service, owner_of(gateway), host, leads_to, paths)


def read_ingresses(listed: ListedObjects) -> Iterator[HostOwner]:
    """Yield the hosts of Ingresses of every class; KServe writes them in Standard mode."""
    for ingress in listed.of(INGRESS):
        where = f"IngressClass {class_of(ingress) or 'by default'}"
        for rule in (ingress.get("spec") or {}).get("rules") or ():
            listed_paths = (rule.get("http") or {}).get("paths") or ()
            names = (each["backend"].get("service", {}).get("name") for each in listed_paths)
            leads_to = frozenset(f"{name}.{ingress['metadata']['namespace']}" for name in names)
            paths = [each.get("path") or "/" for each in listed_paths]
            host = str(rule.get("host") or ANY).lower()
            yield host_owner(ingress, where, host, leads_to, paths)


def _paths(service: Object, gateway: str, host: str) -> Iterator[str]:
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
            yield (
                host.removesuffix(".cluster.local").removesuffix(".svc")
                if "." in host
                else (f"{host}.{here}")
            )
