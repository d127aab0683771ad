"""Ingress controllers: an Ingress publishes a domain, and its class selects the controller.

- any controller gets an Ingress with a plain Prefix; whether it speaks TLS to a Service and
  verifies it is up to it
- ingress-nginx gets annotations that verify the door
"""

from typing import ClassVar, TypeVar

from daypass._core.hints import docs_page
from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass.config import ClassDomain, IngressDomain, IngressNginxDomain
from daypass.render.fronts.front import Front
from daypass.render.names import DOOR, DOOR_PAIR, SERVICE_PORT
from daypass.render.tls_server import door_server

C = TypeVar("C", bound=ClassDomain)


class ControllerFront(Front[C]):
    """An ingress controller, which serves the Ingresses of its classes."""

    route_kind: ClassVar = GroupKind("networking.k8s.io", "Ingress")

    def ingress(self, *, class_name: str | None, annotations: dict[str, str]) -> Object:
        """Return an Ingress that leads the prefix to the door."""
        backend = {"service": {"name": DOOR, "port": {"number": SERVICE_PORT}}}
        host = self.domain.host
        paths = [{"path": self.config.prefix, "pathType": "Prefix", "backend": backend}]
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


class IngressFront(ControllerFront[IngressDomain]):
    """A controller that has no kind of its own, and gets a plain Ingress."""

    domain_type: ClassVar = IngressDomain
    notes: ClassVar = (
        "the ingress controller: TLS to the Service, see "
        + docs_page("how-to/ingresses/ingress.md"),
    )

    def objects(self) -> list[Object]:
        """Return the Ingress."""
        return [self.ingress(class_name=self.domain.class_name, annotations={})]

    @property
    def service_annotations(self) -> dict[str, str]:
        """Return the annotation because of which Contour speaks TLS to a Service."""
        return {"projectcontour.io/upstream-protocol.tls": str(SERVICE_PORT)}


_USUAL_CLASS = "nginx"


class IngressNginxFront(ControllerFront[IngressNginxDomain]):
    """ingress-nginx, which verifies the door by annotations of the Ingress."""

    domain_type: ClassVar = IngressNginxDomain
    usual_namespace: ClassVar = "ingress-nginx"
    notes: ClassVar = (
        'ConfigMap of ingress-nginx: upstream-keepalive-connections: "0", or a connection that'
        " another Ingress opened to the same address is reused without verification",
    )
    warning: ClassVar = (
        "ingress-nginx was retired in March 2026, and gets no security fixes",
        "to move the door to another ingress or gateway, see "
        + docs_page("how-to/leave-ingress-nginx.md"),
    )

    def objects(self) -> list[Object]:
        """Return the Ingress."""
        class_name = self.domain.class_name or _USUAL_CLASS
        secret, host = f"{self.namespace}/{DOOR_PAIR}", door_server(self.config).host
        return [self.ingress(class_name=class_name, annotations=_verified_tls(secret, host))]


def _verified_tls(secret: str, name: str) -> dict[str, str]:
    """Return annotations for TLS to a backend, verified by name and by the authority in a Secret.

    The controller silently ignores a value that it does not know, and then verifies nothing: only
    `"on"` turns verification on. `secret` includes its namespace.
    """
    values = {
        "backend-protocol": "HTTPS",
        "proxy-ssl-verify": "on",
        "proxy-ssl-verify-depth": "2",
        "proxy-ssl-secret": secret,
        "proxy-ssl-name": name,
        "proxy-ssl-server-name": "on",
        # Plain http is not redirected: the door refuses it and says why.
        "ssl-redirect": "false",
        "force-ssl-redirect": "false",
    }
    return {f"nginx.ingress.kubernetes.io/{key}": value for key, value in values.items()}
