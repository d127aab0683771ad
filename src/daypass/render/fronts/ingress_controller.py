"""Ingress controllers: an Ingress publishes a domain, and its class selects the controller."""

from collections.abc import Iterator
from typing import ClassVar, TypeVar

from daypass._core.kubernetes.objects import Object, name_of, new_object
from daypass.config import ClassDomain
from daypass.render.fronts.front import Front
from daypass.render.fronts.routes import (
    ListedObjects,
    ObjectQuery,
    RouteKind,
    ServedHost,
    ServedRoute,
    owner_of,
)
from daypass.render.names import DOOR, SERVICE_PORT

C = TypeVar("C", bound=ClassDomain)

INGRESS = ObjectQuery("networking.k8s.io", "Ingress")
INGRESS_CLASS = ObjectQuery("networking.k8s.io", "IngressClass")
_NGINX = "nginx.ingress.kubernetes.io"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class ControllerFront(Front[C]):
    """An ingress controller, which serves the Ingresses of its classes."""

    api: ClassVar = INGRESS
    queries: ClassVar = (INGRESS_CLASS,)

    controller: ClassVar[str]
    """What its IngressClasses name as their controller."""

    usual_class: ClassVar[str]
    """Name of its IngressClass, where the config names none."""

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
        if self.certificate_secret is not None:
            spec["tls"] = [{"hosts": [host], "secretName": self.certificate_secret}]
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
        return controller == cls.controller or (not controller and name == cls.usual_class)

    @classmethod
    def hosts(cls, listed: ListedObjects) -> Iterator[ServedHost]:
        """Yield the hosts of its Ingresses."""
        for ingress in cls._ingresses(listed):
            spec = ingress.get("spec") or {}
            with_tls = {host for each in spec.get("tls") or () for host in each.get("hosts") or ()}
            for host, _ in _rules(ingress):
                yield ServedHost(
                    host=host,
                    front=cls.kind(),
                    ends_tls=host in with_tls,
                    class_name=class_of(ingress),
                )

    @classmethod
    def routes(cls, listed: ListedObjects) -> Iterator[ServedRoute]:
        """Yield the paths of its Ingresses."""
        for ingress in cls._ingresses(listed):
            for host, path in ((host, path) for host, paths in _rules(ingress) for path in paths):
                yield ServedRoute(
                    host=host,
                    path=path.get("path") or "/",
                    kind=_kind_of(ingress, path),
                    owner=owner_of(ingress),
                )

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

    @classmethod
    def default_class(cls, listed: ListedObjects) -> str | None:
        """Return its usual class."""
        return cls.usual_class

    @classmethod
    def _ingresses(cls, listed: ListedObjects) -> Iterator[Object]:
        controllers = _controllers(listed)
        for ingress in listed.of(INGRESS):
            name = class_of(ingress)
            if cls.serves_class(name, controllers.get(name or "", "")):
                yield ingress


def _controllers(listed: ListedObjects) -> dict[str, str]:
    """Return the controller of each IngressClass."""
    return {
        name_of(each): (each.get("spec") or {}).get("controller", "")
        for each in listed.of(INGRESS_CLASS)
    }


def class_of(ingress: Object) -> str | None:
    """Return the name of the class that an Ingress names, if any."""
    annotations = ingress["metadata"].get("annotations") or {}
    name = (ingress.get("spec") or {}).get("ingressClassName") or annotations.get(_CLASS_ANNOTATION)
    return None if name is None else str(name)


def _rules(ingress: Object) -> Iterator[tuple[str, list[Object]]]:
    """Yield the hosts of an Ingress, each with its paths."""
    for rule in (ingress.get("spec") or {}).get("rules") or ():
        if host := rule.get("host"):
            yield host, (rule.get("http") or {}).get("paths") or []


def _kind_of(ingress: Object, path: Object) -> RouteKind:
    annotations = ingress["metadata"].get("annotations") or {}
    rewrites = f"{_NGINX}/rewrite-target" in annotations
    if rewrites or annotations.get(f"{_NGINX}/use-regex") == "true":
        return "pattern"
    return "exact" if path.get("pathType") == "Exact" else "prefix"
