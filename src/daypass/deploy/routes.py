"""What publishes hosts in a cluster already: Ingresses, Istio's kinds, the Gateway API's.

Pure functions from objects to two values: a Host that somebody serves, and a Route on it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from daypass.deploy.handing_over import is_handed_over
from daypass.render.objects import LABELS, Object

Kind = Literal["prefix", "exact", "text", "pattern"]
_NGINX = "nginx.ingress.kubernetes.io"
_CLASS = "kubernetes.io/ingress.class"
_EXAMPLE = "/api/v1/namespaces/default/serviceaccounts/default/token"
NGINX_CONTROLLER = "k8s.io/ingress-nginx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path on a host, and whose it is. prefix: of whole parts; text: of characters."""

    host: str
    path: str
    kind: Kind
    owner: str

    def takes(self, prefix: str) -> bool:
        """Whether requests for the door under this prefix could end here.

        A shorter path does not count: every engine prefers the longer one, but for Istio's (text),
        which goes by the order in which they were made.
        """
        if self.kind == "pattern":
            try:
                return bool(re.match(self.path, prefix + _EXAMPLE, re.IGNORECASE))
            except re.error:
                return False
        below = self.path == prefix or self.path.startswith(f"{prefix}/")
        return below or (self.kind == "text" and self.path != "/" and prefix.startswith(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A public name that is served. `ends_tls`: by this object, which has the certificate.

    `gateway`: NAMESPACE/NAME, or for the Gateway API NAMESPACE/NAME/LISTENER.
    """

    host: str
    front: Literal["ingress-nginx", "ingress", "istio", "gateway-api"]
    owner: str
    ends_tls: bool
    class_name: str | None = None
    gateway: str | None = None


def of_ingress(ingress: Object, controllers: Mapping[str, str]) -> Iterator[Host | Route]:
    """An Ingress' hosts and paths. `controllers`: by the name of the IngressClass."""
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
        yield Host(
            host=host,
            front="ingress-nginx" if controller == NGINX_CONTROLLER else "ingress",
            owner=owner_of(ingress),
            ends_tls=host in with_tls,
            class_name=name,
        )
        for each in (rule.get("http") or {}).get("paths") or ():
            kind: Kind = "exact" if each.get("pathType") == "Exact" else "prefix"
            yield Route(
                host=host,
                path=each.get("path") or "/",
                kind="pattern" if regex else kind,
                owner=owner_of(ingress),
            )


def of_virtual_service(service: Object) -> Iterator[Route]:
    """The paths of an Istio VirtualService that some gateway serves."""
    spec = service.get("spec") or {}
    if spec.get("gateways", ["mesh"]) == ["mesh"]:
        return
    kinds: dict[str, Kind] = {"prefix": "text", "exact": "exact", "regex": "pattern"}
    for host in spec.get("hosts") or ():
        for http in spec.get("http") or ():
            matches: list[Object] = http.get("match") or [{}]
            for match in matches:
                for how, path in (match.get("uri") or {"prefix": "/"}).items():
                    yield Route(
                        host=host, path=path, kind=kinds.get(how, "exact"), owner=owner_of(service)
                    )


def of_istio_gateway(gateway: Object) -> Iterator[Host]:
    """The hosts of an Istio Gateway. Those of `NAMESPACE/HOST` are for that namespace alone."""
    metadata = gateway["metadata"]
    for server in (gateway.get("spec") or {}).get("servers") or ():
        for host in server.get("hosts") or ():
            yield Host(
                host=host.rpartition("/")[2],
                front="istio",
                owner=owner_of(gateway),
                ends_tls=bool(server.get("tls")) and not server["tls"].get("httpsRedirect"),
                gateway=f"{metadata['namespace']}/{metadata['name']}",
            )


def of_http_route(route: Object) -> Iterator[Route]:
    """The paths of an HTTPRoute."""
    kinds: dict[str, Kind] = {"PathPrefix": "prefix", "RegularExpression": "pattern"}
    spec = route.get("spec") or {}
    for host in spec.get("hostnames") or ():
        for rule in spec.get("rules") or ():
            for match in rule.get("matches") or ():
                path = match.get("path") or {}
                yield Route(
                    host=host,
                    path=path.get("value", "/"),
                    kind=kinds.get(path.get("type", "PathPrefix"), "exact"),
                    owner=owner_of(route),
                )


def of_gateway(gateway: Object) -> Iterator[Host]:
    """The hosts of a Gateway of the Gateway API, of listeners that end TLS."""
    metadata = gateway["metadata"]
    for listener in (gateway.get("spec") or {}).get("listeners") or ():
        if listener.get("hostname") and listener.get("protocol") == "HTTPS":
            yield Host(
                host=listener["hostname"],
                front="gateway-api",
                owner=owner_of(gateway),
                ends_tls=True,
                gateway=f"{metadata['namespace']}/{metadata['name']}/{listener['name']}",
            )


def is_ours(document: Object) -> bool:
    """Whether daypass made it."""
    labels: dict[str, Any] = document["metadata"].get("labels") or {}
    return LABELS.items() <= labels.items()


def serving(hosts: Sequence[Host], name: str) -> Host | None:
    """Who serves a name: by this name, or else by a wildcard; who ends TLS for it comes first.

    Who takes every name counts only if he ends TLS: many listen to `*` in the clear, behind others.
    """
    star = "*." + name.partition(".")[2]
    for wanted in (name, star, "*"):
        found = sorted((h for h in hosts if h.host == wanted), key=lambda host: not host.ends_tls)
        if found and (wanted != "*" or found[0].ends_tls):
            return found[0]
    return None


def losing(found: Sequence[Route], hosts: Sequence[Host], name: str) -> list[str]:
    """VirtualServices for a wildcard that would lose a name to one for that name alone.

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
    """An object in words: KIND NAMESPACE/NAME."""
    metadata = document["metadata"]
    return f"{document.get('kind', 'object')} {metadata['namespace']}/{metadata['name']}"
