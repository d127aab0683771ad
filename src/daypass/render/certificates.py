"""Certificates that cert-manager gets and renews: of public names, and of the door."""

from daypass.render.names import DOOR, DOOR_PAIR, DOOR_TRUST, door_host
from daypass.render.objects import Object, new_object
from daypass.render.published import Published
from daypass.spec import Config, TlsIssuer

_NEW_KEY = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}


def public_certificate(domain: Published) -> list[Object]:
    """The certificate of a public name, where an issuer is to give it."""
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


def door_certificates(config: Config, trusting: set[str]) -> list[Object]:
    """The door's own, where an issuer is to give it.

    `trusting`: namespaces that need the authority in a Secret of theirs. cert-manager gives that
    with a certificate only, so each gets one, which nobody ever shows and which is not the door's.
    """
    issuer = config.door.certificate_issuer
    if issuer is None:
        return []
    host, namespace = door_host(config), config.door.namespace
    own = _certificate(DOOR, namespace, DOOR_PAIR, issuer, host, "server auth")
    trust = [
        _certificate(DOOR_TRUST, name, DOOR_TRUST, issuer, f"trusts.{host}", "client auth")
        for name in sorted(trusting)
    ]
    return [own, *trust]


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
            "privateKey": dict(_NEW_KEY),
            "usages": ["digital signature", usage],
        },
    )
