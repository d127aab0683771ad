"""Ingress controllers: an Ingress publishes a domain, and its class selects the controller."""

from typing import ClassVar, TypeVar

from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass.config import ClassDomain
from daypass.render.fronts.front import Front
from daypass.render.names import DOOR, SERVICE_PORT

C = TypeVar("C", bound=ClassDomain)


class ControllerFront(Front[C]):
    """An ingress controller, which serves the Ingresses of its classes."""

    route_kind: ClassVar = GroupKind("networking.k8s.io", "Ingress")

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
