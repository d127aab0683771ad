"""Hosts and routes that a cluster publishes already: Ingress, Istio, the Gateway API.

Pure functions turn objects into a PublishedHost or a PublishedRoute on it. `list_all` lists them in
a cluster; `collisions` finds routes of others that would take requests for the door.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from daypass._core.findings import Finding, warning
from daypass._core.labels import is_ours
from daypass._core.objects import Object
from daypass._core.parallel import in_parallel
from daypass.config import Config
from daypass.deploy.ekf import is_handed_over
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError

Kind = Literal["prefix", "exact", "text", "pattern"]
GroupKind = tuple[str, str]

INGRESS = ("networking.k8s.io", "Ingress")
VIRTUAL_SERVICE = ("networking.istio.io", "VirtualService")
ISTIO_GATEWAY = ("networking.istio.io", "Gateway")
HTTP_ROUTE = ("gateway.networking.k8s.io", "HTTPRoute")
GRPC_ROUTE = ("gateway.networking.k8s.io", "GRPCRoute")
GATEWAY = ("gateway.networking.k8s.io", "Gateway")

_NGINX = "nginx.ingress.kubernetes.io"
_CLASS = "kubernetes.io/ingress.class"
_EXAMPLE = "/api/v1/namespaces/default/serviceaccounts/default/token"
NGINX_CONTROLLER = "k8s.io/ingress-nginx"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRoute:
    """A path on a host, and its owner. prefix: of path segments; text: of characters."""

    host: str
    path: str
    kind: Kind
    owner: str

    def takes(self, prefix: str) -> bool:
        """Whether requests for the door under this prefix could end here.

        A shorter path does not count: every engine prefers the longer one, except for Istio's
        (text), which prefers the older one.
        """
        if self.kind == "pattern":
            try:
                return bool(re.match(self.path, prefix + _EXAMPLE, re.IGNORECASE))
            except re.error:
                return False
        below = self.path == prefix or self.path.startswith(f"{prefix}/")
        return below or (self.kind == "text" and self.path != "/" and prefix.startswith(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedHost:
    """A public name that is served. `ends_tls`: this object has the certificate.

    `gateway`: NAMESPACE/NAME, or for the Gateway API NAMESPACE/NAME/LISTENER.
    """

    host: str
    front: Literal["ingress-nginx", "ingress", "istio", "gateway-api"]
    ends_tls: bool
    class_name: str | None = None
    gateway: str | None = None


def of_ingress(
    ingress: Object, controllers: Mapping[str, str]
) -> Iterator[PublishedHost | PublishedRoute]:
    """Yield the hosts and paths of an Ingress. `controllers`: by IngressClass."""
    if is_handed_over(ingress):
        return
    annotations = ingress["metadata"].get("annotations") or {}
    spec = ingress.get("spec") or {}
    name = spec.get("ingressClassName") or annotations.get(_CLASS)
    controller = controllers.get(name or "", NGINX_CONTROLLER if name == "nginx" else "")
    with_tls = {host for each in spec.get("tls") or () for host in each.get("hosts") or ()}
    regex = annotations.get(f"{_NGINX}/use-regex") == "true" or (
        f"{_NGINX}/rewrite-target" in annotations
    )
    for rule in spec.get("rules") or ():
        host = rule.get("host")
        if not host:
            continue
        yield PublishedHost(
            host=host,
            front="ingress-nginx" if controller == NGINX_CONTROLLER else "ingress",
            ends_tls=host in with_tls,
            class_name=name,
        )
        for path in (rule.get("http") or {}).get("paths") or ():
            kind: Kind = "exact" if path.get("pathType") == "Exact" else "prefix"
            yield PublishedRoute(
                host=host,
                path=path.get("path") or "/",
                kind="pattern" if regex else kind,
                owner=owner_of(ingress),
            )


def of_virtual_service(service: Object) -> Iterator[PublishedRoute]:
    """Yield the paths of an Istio VirtualService that some gateway serves."""
    spec = service.get("spec") or {}
    if spec.get("gateways", ["mesh"]) == ["mesh"]:
        return
    kinds: dict[str, Kind] = {"prefix": "text", "exact": "exact", "regex": "pattern"}
    for host in spec.get("hosts") or ():
        for http in spec.get("http") or ():
            matches: list[Object] = http.get("match") or [{}]
            for match in matches:
                for how, path in (match.get("uri") or {"prefix": "/"}).items():
                    yield PublishedRoute(
                        host=host, path=path, kind=kinds.get(how, "exact"), owner=owner_of(service)
                    )


def of_istio_gateway(gateway: Object) -> Iterator[PublishedHost]:
    """Yield the hosts of an Istio Gateway; `NAMESPACE/HOST` is for that namespace alone."""
    for server in (gateway.get("spec") or {}).get("servers") or ():
        for host in server.get("hosts") or ():
            yield PublishedHost(
                host=host.rpartition("/")[2],
                front="istio",
                ends_tls=bool(server.get("tls")) and not server["tls"].get("httpsRedirect"),
                gateway=path_of(gateway),
            )


def of_http_route(route: Object) -> Iterator[PublishedRoute]:
    """Yield the paths of an HTTPRoute."""
    kinds: dict[str, Kind] = {"PathPrefix": "prefix", "RegularExpression": "pattern"}
    spec = route.get("spec") or {}
    for host in spec.get("hostnames") or ():
        for rule in spec.get("rules") or ():
            for match in rule.get("matches") or ():
                path = match.get("path") or {}
                yield PublishedRoute(
                    host=host,
                    path=path.get("value", "/"),
                    kind=kinds.get(path.get("type", "PathPrefix"), "exact"),
                    owner=owner_of(route),
                )


def of_gateway(gateway: Object) -> Iterator[PublishedHost]:
    """Yield the hosts of a Gateway API Gateway, of listeners that terminate TLS."""
    for listener in (gateway.get("spec") or {}).get("listeners") or ():
        if listener.get("hostname") and listener.get("protocol") == "HTTPS":
            yield PublishedHost(
                host=listener["hostname"],
                front="gateway-api",
                ends_tls=True,
                gateway=f"{path_of(gateway)}/{listener['name']}",
            )


def serving(hosts: Sequence[PublishedHost], name: str) -> PublishedHost | None:
    """Return what serves a name, by this name or else by a wildcard; with TLS comes first.

    For `*` only what terminates TLS counts: much listens to `*` in the clear, behind others.
    """
    star = "*." + name.partition(".")[2]
    for wanted in (name, star, "*"):
        found = sorted((h for h in hosts if h.host == wanted), key=lambda host: not host.ends_tls)
        if found and (wanted != "*" or found[0].ends_tls):
            return found[0]
    return None


def losing(found: Sequence[PublishedRoute], hosts: Sequence[PublishedHost], name: str) -> list[str]:
    """Return VirtualServices for a wildcard that would lose a name to one for that name alone.

    Where no Gateway names it, Istio makes it a virtual host of its own, without the others' routes.
    """
    if any(host.front == "istio" and host.host == name for host in hosts):
        return []
    suffixes = {route.owner: route.host[1:] for route in found if route.host.startswith("*")}
    return sorted(
        owner
        for owner, suffix in suffixes.items()
        if owner.startswith("VirtualService ") and name.endswith(suffix)
    )


def owner_of(document: Object) -> str:
    """Return the name of an object in messages: KIND NAMESPACE/NAME."""
    return f"{document.get('kind', 'object')} {path_of(document)}"


def path_of(document: Object) -> str:
    """Return NAMESPACE/NAME."""
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObjects:
    """Objects by group and kind, each with its `kind`.

    `unseen`: the kinds that the user may not list.
    """

    objects: Mapping[GroupKind, Sequence[Object]]
    unseen: tuple[str, ...] = ()

    def of(self, kind: GroupKind) -> Sequence[Object]:
        """Return the objects of a kind."""
        return self.objects.get(kind, ())


def list_all(cluster: Cluster, wanted: Iterable[GroupKind]) -> ListedObjects:
    """List these kinds in all namespaces."""

    def look(wanted: GroupKind) -> tuple[GroupKind, list[Object] | None]:
        resource = cluster.find_kind(*wanted)
        if resource is None:
            return wanted, []
        try:
            listed = cluster.list(resource)
        except ForbiddenError:
            return wanted, None
        # The items of a list have no kind.
        return wanted, [{**document, "kind": resource.kind} for document in listed]

    found = dict(in_parallel(look, wanted))
    return ListedObjects(
        objects={kind: documents for kind, documents in found.items() if documents is not None},
        unseen=tuple(f"{_plural(kind[1])} of {kind[0]}" for kind in found if found[kind] is None),
    )


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


KINDS = (INGRESS, VIRTUAL_SERVICE, HTTP_ROUTE)
"""The kinds that route paths."""


def published(
    listed: ListedObjects, controllers: Mapping[str, str]
) -> tuple[list[PublishedHost], list[PublishedRoute]]:
    """Return the hosts and the routes of others in `listed`. `controllers`: by IngressClass."""
    read: dict[GroupKind, Callable[[Object], Iterator[PublishedHost | PublishedRoute]]] = {
        INGRESS: lambda ingress: of_ingress(ingress, controllers),
        ISTIO_GATEWAY: of_istio_gateway,
        VIRTUAL_SERVICE: of_virtual_service,
        GATEWAY: of_gateway,
        HTTP_ROUTE: of_http_route,
    }
    parts = [
        part
        for kind, parts_of in read.items()
        for document in listed.of(kind)
        if not is_ours(document)
        for part in parts_of(document)
    ]
    return (
        [part for part in parts if isinstance(part, PublishedHost)],
        [part for part in parts if isinstance(part, PublishedRoute)],
    )


def collisions(listed: ListedObjects, config: Config) -> list[Finding]:
    """Return the routes of others, in `listed`, that take requests for the door."""
    _, found = published(listed, {})
    return [
        warning(
            "collisions",
            f"{config.prefix} on {domain.host} leads elsewhere already:"
            f" {route.owner} has {route.path}",
            "your ingress or gateway chooses which of the two it serves",
        )
        for domain in config.domains.values()
        if domain.front != "envoy"
        for route in found
        if route.host == domain.host and route.takes(config.prefix)
    ]
