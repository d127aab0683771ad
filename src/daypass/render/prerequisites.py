"""Who provides certificates and authorities: cert-manager, `apply`, or an administrator.

Secrets are never rendered: what the manifests depend on is listed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from daypass._core.hints import command
from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Config, TlsIssuer, TlsSecret
from daypass.render.engines import engines_of
from daypass.render.fronts import FRONTS, AnyFront, fronts_of
from daypass.render.names import (
    DOOR_PAIR,
    GATE_PAIR,
    AuthorityLocation,
    TlsServer,
    authorizer_server,
    door_server,
)

Content: TypeAlias = Literal["pair", "authority", "public-pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """An object that must exist, and its content.

    - pair: `tls.crt` and `tls.key` of the door or the authorizer for `host`, and the `ca.crt` that
      verifies it; `apply` creates it.
    - authority: the `ca.crt` of the Secret `pair`, where a front looks for it; `apply` copies it.
    - public-pair: `tls.crt` and `tls.key` for `host`; the administrator creates it.
    """

    content: Content
    kind: Literal["Secret", "ConfigMap"]
    namespace: str
    name: str
    host: str = ""
    pair: str = ""


def prerequisites(config: Config) -> tuple[Prerequisite, ...]:
    """Return every object that must exist, each once."""
    found: list[Prerequisite] = []
    if fronts := fronts_of(config):
        locations = (front.authority_location() for front in fronts)
        found += _serving(config, door_server(config.door.namespace), locations)
    reviewed = [engine for engine in engines_of(config) if engine.gate.asks_authorizer]
    if reviewed:
        places = (engine.authority_location() for engine in reviewed)
        found += _serving(config, authorizer_server(config.door.namespace), places)
    return tuple(dict.fromkeys([*found, *_of_names(fronts)]))


def _serving(
    config: Config, server: TlsServer, locations: Iterable[AuthorityLocation | None]
) -> Iterator[Prerequisite]:
    """Yield the certificate of a server, and copies of its authority where gateways look for it."""
    has_issuer = config.door.certificate_issuer is not None  # it writes Secrets, no ConfigMaps
    if not has_issuer:
        yield Prerequisite(
            content="pair",
            kind="Secret",
            namespace=server.namespace,
            name=server.pair,
            host=server.host,
        )
    for location in locations:
        if location is not None and not (has_issuer and location.kind == "Secret"):
            yield Prerequisite(
                content="authority",
                kind=location.kind,
                namespace=location.namespace,
                name=server.trust,
                pair=server.pair,
            )


def _of_names(fronts: list[AnyFront]) -> Iterator[Prerequisite]:
    for front in fronts:
        if isinstance(front.domain.tls, TlsSecret):
            yield Prerequisite(
                content="public-pair",
                kind="Secret",
                namespace=front.certificate_namespace,
                name=front.domain.tls.secret,
                host=front.domain.host,
            )


_NOTES: dict[Content, str] = {
    "pair": "a certificate for {host}, its key, and ca.crt; `{apply}` creates it",
    "authority": "the ca.crt that verifies the {server}; `{apply}` copies it",
    "public-pair": "the certificate of {host} and its key; create it",
}


def prerequisite_notes(config: Config) -> list[str]:
    """Return what must exist and be configured, one line each, for people."""
    apply = command("apply")
    servers = {DOOR_PAIR: "door", GATE_PAIR: "authorizer"}
    lines = [
        f"{each.kind} {each.namespace}/{each.name}: "
        + _NOTES[each.content].format(host=each.host, server=servers.get(each.pair), apply=apply)
        for each in prerequisites(config)
    ]
    kinds = {type(front) for front in fronts_of(config)}
    lines += [note for front in FRONTS if front in kinds for note in front.notes]
    one_machine = config.domains.keys() - config.cluster_domains.keys()
    if one_machine:
        lines.append(f"only for `{command('up')}`, not in here: {', '.join(sorted(one_machine))}")
    return lines


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
