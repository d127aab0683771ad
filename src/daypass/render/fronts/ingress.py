"""An Ingress for any controller, by a plain Prefix.

Whether the controller speaks TLS to a Service and verifies it is up to it.
"""

from typing import ClassVar

from daypass._core.hints import docs_page
from daypass._core.kubernetes.objects import Object
from daypass.config import IngressDomain
from daypass.render.fronts.ingress_controller import ControllerFront
from daypass.render.names import SERVICE_PORT


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
