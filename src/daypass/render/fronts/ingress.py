"""An Ingress for any controller, by a plain Prefix.

Whether the controller speaks TLS to a Service and verifies it is up to it.
"""

from typing import Any, ClassVar

from daypass._core.hints import docs_page
from daypass._core.kubernetes.objects import Object, name_of
from daypass.config import IngressDomain
from daypass.render.fronts.ingress_controller import INGRESS_CLASS, ControllerFront
from daypass.render.fronts.ingress_nginx import IngressNginxFront
from daypass.render.fronts.routes import ListedObjects
from daypass.render.names import SERVICE_PORT

OWN_KINDS: tuple[type[ControllerFront[Any]], ...] = (IngressNginxFront,)
"""The controllers that have a kind of their own."""

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


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

    @classmethod
    def serves_class(cls, name: str | None, controller: str) -> bool:
        """Return whether no kind of its own serves a class."""
        return not any(kind.serves_class(name, controller) for kind in OWN_KINDS)

    @classmethod
    def classes(cls, listed: ListedObjects) -> list[str] | None:
        """Return the names of all IngressClasses: a controller may serve a plain Ingress, too."""
        if INGRESS_CLASS not in listed.objects:
            return None
        return sorted(map(name_of, listed.of(INGRESS_CLASS)))

    @classmethod
    def default_class(cls, listed: ListedObjects) -> str | None:
        """Return the cluster's default class."""
        return next((name_of(each) for each in listed.of(INGRESS_CLASS) if _is_default(each)), None)


def _is_default(ingress_class: Object) -> bool:
    return (ingress_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
