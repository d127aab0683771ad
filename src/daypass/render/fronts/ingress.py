"""An Ingress for any controller, by a plain Prefix.

Whether the controller speaks TLS to a Service and verifies it is up to it. A controller with a kind
of its own is a subclass here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from daypass._core.installation import docs_page
from daypass._core.objects import Object, name_of, new_object
from daypass.config import ClassDomain, IngressDomain
from daypass.render.fronts.front import Front
from daypass.render.fronts.routes import (
    ListedObjects,
    ObjectQuery,
    PublishedHost,
    PublishedRoute,
    RouteKind,
    owner_of,
)
from daypass.render.names import DOOR, SERVICE_PORT

C = TypeVar("C", bound=ClassDomain)

INGRESS = ObjectQuery("networking.k8s.io", "Ingress")
INGRESS_CLASS = ObjectQuery("networking.k8s.io", "IngressClass")
_NGINX = "nginx.ingress.kubernetes.io"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerFront(Front[C]):
    """An ingress controller, which publishes a domain by an Ingress."""

    api: ClassVar = INGRESS
    queries: ClassVar = (INGRESS_CLASS,)

    def ingress(
        self,
        *,
        class_name: str | None,
        annotations: dict[str, str],
        path: str = "",
        path_type: str = "Prefix",
        service: str = DOOR,
    ) -> Object:
        """Return an Ingress that leads a path to a Service; by default the prefix to the door."""
        backend = {"service": {"name": service, "port": {"number": SERVICE_PORT}}}
        host = self.domain.host
        paths = [{"path": path or self.config.prefix, "pathType": path_type, "backend": backend}]
        spec: Object = {"rules": [{"host": host, "http": {"paths": paths}}]}
        if class_name is not None:
            spec["ingressClassName"] = class_name
        if self.pair_secret is not None:
            spec["tls"] = [{"hosts": [host], "secretName": self.pair_secret}]
        return new_object(
            "networking.k8s.io/v1",
            "Ingress",
            self.object_name,
            self.namespace,
            annotations={**annotations, **self.dns_annotations},
            spec=spec,
        )

    @classmethod
    def serves_class(cls, name: str | None, controller: str) -> bool:
        """Return whether it serves an IngressClass. `controller`: of the class; "" if unknown."""
        raise NotImplementedError

    @classmethod
    def published(cls, listed: ListedObjects) -> Iterator[PublishedHost | PublishedRoute]:
        """Yield the hosts and paths of its Ingresses."""
        controllers = _controllers(listed)
        for ingress in listed.of(INGRESS):
            name = _class_of(ingress)
            if cls.serves_class(name, controllers.get(name or "", "")):
                yield from _published(ingress, cls.kind(), name)

    @classmethod
    def is_running(cls, listed: ListedObjects) -> bool:
        """Return whether a cluster has a class that it serves."""
        return any(cls.serves_class(name, of) for name, of in _controllers(listed).items())

    @classmethod
    def classes(cls, listed: ListedObjects) -> list[str] | None:
        """Return the names of its IngressClasses; None if they are unknown."""
        if INGRESS_CLASS not in listed.objects:
            return None
        return sorted(
            name for name, of in _controllers(listed).items() if cls.serves_class(name, of)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressFront(ControllerFront[IngressDomain]):
    """A controller that has no kind of its own."""

    domain_type: ClassVar = IngressDomain
    # Contour speaks TLS to a Service only because of this annotation.
    service_annotations: ClassVar = {"projectcontour.io/upstream-protocol.tls": str(SERVICE_PORT)}
    notes: ClassVar = (
        "the ingress controller: TLS to the Service, see "
        + docs_page("how-to/ingresses/ingress.md"),
    )

    def objects(self) -> list[Object]:
        """Return the Ingress."""
        return [self.ingress(class_name=self.domain.class_name, annotations={})]

    @classmethod
    def serves_class(cls, name: str | None, controller: str) -> bool:
        """Return whether no kind of its own serves a class."""
        # Not by `is`: a dataclass with slots is a second class, and both are subclasses.
        kinds = (k for k in ControllerFront.__subclasses__() if k.domain_type != cls.domain_type)
        return not any(kind.serves_class(name, controller) for kind in kinds)

    @classmethod
    def classes(cls, listed: ListedObjects) -> list[str] | None:
        """Return the names of all IngressClasses: a controller may serve a plain Ingress, too."""
        if INGRESS_CLASS not in listed.objects:
            return None
        return sorted(_controllers(listed))

    @classmethod
    def default_class(cls, listed: ListedObjects) -> str | None:
        """Return the cluster's default class."""
        return next((name_of(each) for each in listed.of(INGRESS_CLASS) if _is_default(each)), None)


def _is_default(ingress_class: Object) -> bool:
    return (ingress_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def _controllers(listed: ListedObjects) -> dict[str, str]:
    """Return the controller of each IngressClass."""
    return {
        name_of(each): (each.get("spec") or {}).get("controller", "")
        for each in listed.of(INGRESS_CLASS)
    }


def _class_of(ingress: Object) -> str | None:
    annotations = ingress["metadata"].get("annotations") or {}
    name = (ingress.get("spec") or {}).get("ingressClassName") or annotations.get(_CLASS_ANNOTATION)
    return None if name is None else str(name)


def _published(
    ingress: Object, front: str, class_name: str | None
) -> Iterator[PublishedHost | PublishedRoute]:
    annotations, spec = ingress["metadata"].get("annotations") or {}, ingress.get("spec") or {}
    with_tls = {host for each in spec.get("tls") or () for host in each.get("hosts") or ()}
    regex = annotations.get(f"{_NGINX}/use-regex") == "true" or (
        f"{_NGINX}/rewrite-target" in annotations
    )
    for rule in spec.get("rules") or ():
        host = rule.get("host")
        if not host:
            continue
        yield PublishedHost(
            host=host, front=front, ends_tls=host in with_tls, class_name=class_name
        )
        for path in (rule.get("http") or {}).get("paths") or ():
            kind: RouteKind = "exact" if path.get("pathType") == "Exact" else "prefix"
            yield PublishedRoute(
                host=host,
                path=path.get("path") or "/",
                kind="pattern" if regex else kind,
                owner=owner_of(ingress),
            )
