"""ingress-nginx to the door: verified TLS, and no redirect of what came in the clear."""

from daypass.render.fronts.ingress import ingress_object, ingress_spec
from daypass.render.names import DOOR, DOOR_PAIR, door_host
from daypass.render.objects import Object
from daypass.render.published import Published

USUAL_CLASS = "nginx"


def ingress_nginx(domain: Published) -> list[Object]:
    """The Ingress of a domain."""
    spec = ingress_spec(domain, class_of(domain), domain.config.prefix, "Prefix", DOOR)
    annotations = verified_tls(f"{domain.namespace}/{DOOR_PAIR}", door_host(domain.config))
    return [ingress_object(domain, spec, annotations)]


def class_of(domain: Published) -> str:
    """The IngressClass."""
    return domain.domain.class_name or USUAL_CLASS


def verified_tls(secret: str, name: str) -> dict[str, str]:
    """Annotations for TLS to a backend that is known by the authority in a Secret and by name.

    The controller drops a value that it does not know without a word, and verifies nothing then:
    `"on"` is the only one that turns it on. The Secret is written with its namespace.
    """
    return _annotations(
        {
            "backend-protocol": "HTTPS",
            "proxy-ssl-verify": "on",
            "proxy-ssl-verify-depth": "2",
            "proxy-ssl-secret": secret,
            "proxy-ssl-name": name,
            "proxy-ssl-server-name": "on",
            # What came in the clear is not redirected: the door refuses it and says why.
            "ssl-redirect": "false",
            "force-ssl-redirect": "false",
        }
    )


def _annotations(values: dict[str, str]) -> dict[str, str]:
    return {f"nginx.ingress.kubernetes.io/{key}": value for key, value in values.items()}
