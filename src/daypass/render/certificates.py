"""Certificates that cert-manager issues and renews: of public names, door and authorizer."""

from collections.abc import Iterable

from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Config, TlsIssuer
from daypass.render.fronts import AnyFront
from daypass.render.tls_server import AuthorityLocation, TlsServer


def public_certificate(front: AnyFront) -> list[Object]:
    """Return the Certificate of a public name, if the config names an issuer for it."""
    tls, secret = front.domain.tls, front.certificate_secret
    if not isinstance(tls, TlsIssuer) or secret is None:
        return []
    host, usage = front.domain.host, "server auth"
    return [
        _certificate(
            front.object_name, front.certificate_namespace, secret, tls.issuer, host, usage
        )
    ]


def serving_certificates(
    config: Config, server: TlsServer, locations: Iterable[AuthorityLocation]
) -> list[Object]:
    """Return the Certificate of the door or the authorizer, if the config names an issuer for it.

    `locations`: where gateways look for the authority. cert-manager writes it only to a Secret, and
    only together with a certificate, so each gets one, which no server presents.
    """
    issuer = config.door.certificate_issuer
    if issuer is None:
        return []
    own = _certificate(
        server.name, server.namespace, server.pair, issuer, server.host, "server auth"
    )
    return [
        own,
        *(
            _certificate(
                server.trust,
                namespace,
                server.trust,
                issuer,
                f"trusts.{server.host}",
                "client auth",
            )
            for namespace in sorted({each.namespace for each in locations if each.kind == "Secret"})
        ),
    ]


def _certificate(
    name: str, namespace: str, secret: str, issuer: str, host: str, usage: str
) -> Object:
    return new_object(
        "cert-manager.io/v1",
        "Certificate",
        name,
        namespace,
        spec={
            "secretName": secret,
            "dnsNames": [host],
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", usage],
        },
    )
