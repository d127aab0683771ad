"""Certificates that cert-manager gets and renews: of public names, of door and authorizer."""

from daypass.config import Config, TlsIssuer
from daypass.render.objects import (
    DOOR,
    DOOR_PAIR,
    DOOR_TRUST,
    GATE,
    GATE_PAIR,
    GATE_TRUST,
    Object,
    door_host,
    gate_host,
    new_object,
)
from daypass.render.published_domain import PublishedDomain

_NEW_KEY = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}


def public_certificate(domain: PublishedDomain) -> list[Object]:
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
    return _own(config, DOOR, DOOR_PAIR, DOOR_TRUST, door_host(config), trusting)


def gate_certificates(config: Config, trusting: set[str]) -> list[Object]:
    """The same for the authorizer."""
    return _own(config, GATE, GATE_PAIR, GATE_TRUST, gate_host(config), trusting)


def _own(
    config: Config, name: str, pair: str, trust: str, host: str, trusting: set[str]
) -> list[Object]:
    issuer = config.door.certificate_issuer
    if issuer is None:
        return []
    own = _certificate(name, config.door.namespace, pair, issuer, host, "server auth")
    return [
        own,
        *(
            _certificate(trust, where, trust, issuer, f"trusts.{host}", "client auth")
            for where in sorted(trusting)
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
            "privateKey": dict(_NEW_KEY),
            "usages": ["digital signature", usage],
        },
    )
