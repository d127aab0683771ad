"""Certificates that cert-manager issues and renews: of public names, door and authorizer."""

from daypass._core.objects import Object, new_object
from daypass.config import Config, TlsIssuer
from daypass.render.published_domain import PublishedDomain


def public_certificate(domain: PublishedDomain) -> list[Object]:
    """Return the Certificate of a public name, if the config names an issuer for it."""
    if not isinstance(domain.domain.tls, TlsIssuer) or domain.pair_secret is None:
        return []
    return [
        _certificate(
            domain.object_name,
            domain.pair_namespace,
            domain.pair_secret,
            domain.domain.tls.issuer,
            domain.domain.host,
            "server auth",
        )
    ]


def serving_certificates(
    config: Config, name: str, pair: str, trust: str, host: str, trusting: set[str]
) -> list[Object]:
    """Return the Certificate of the door or the authorizer, if the config names an issuer for it.

    `trusting`: namespaces that need the authority in a Secret. cert-manager writes it only together
    with a certificate, so each namespace gets one, which no server presents.
    """
    issuer = config.door.certificate_issuer
    if issuer is None:
        return []
    return [
        _certificate(name, config.door.namespace, pair, issuer, host, "server auth"),
        *(
            _certificate(trust, namespace, trust, issuer, f"trusts.{host}", "client auth")
            for namespace in sorted(trusting)
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
