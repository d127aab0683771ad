"""What the manifests depend on: Secrets, which are never rendered, and settings of others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from daypass._core.hints import command
from daypass._core.installation import docs_page
from daypass.config import Config, TlsSecret
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.objects import (
    API_SERVER_AUTHORITY,
    DOOR_PAIR,
    DOOR_TRUST,
    GATE_PAIR,
    GATE_TRUST,
    door_host,
    gate_host,
    gateway_namespace,
)
from daypass.render.published_domain import PublishedDomain, published_domains

Content: TypeAlias = Literal[
    "door-pair",
    "door-authority",
    "gate-pair",
    "gate-authority",
    "api-server-authority",
    "public-pair",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """An object that must exist, and its content.

    - door-pair: `tls.crt` and `tls.key` for `host`, and the `ca.crt` that verifies it; `apply`
      creates it.
    - door-authority: the `ca.crt` of the Secret DOOR_PAIR, where a front looks for it; `apply`
      copies it.
    - gate-pair, gate-authority: the same for the authorizer, from the Secret GATE_PAIR.
    - api-server-authority: the `ca.crt` of kube-root-ca.crt; `apply` copies it.
    - public-pair: `tls.crt` and `tls.key` for `host`; the administrator creates it.
    """

    content: Content
    kind: Literal["Secret", "ConfigMap"]
    namespace: str
    name: str
    host: str = ""


def prerequisites(config: Config) -> tuple[Prerequisite, ...]:
    """Return every object that must exist, each once."""
    domains = published_domains(config, ClusterFacts())
    found = [
        *_of_door(config, [d for d in domains if not d.domain.direct]),
        *_of_gate(config),
        *_of_names(domains),
    ]
    return tuple(dict.fromkeys(found))


def _of_door(config: Config, domains: list[PublishedDomain]) -> Iterator[Prerequisite]:
    namespace = config.door.namespace
    # An issuer writes Secrets, no ConfigMaps.
    by_issuer = config.door.certificate_issuer is not None
    if domains and not by_issuer:
        yield Prerequisite(
            content="door-pair",
            kind="Secret",
            namespace=namespace,
            name=DOOR_PAIR,
            host=door_host(config),
        )
    for domain in domains:
        if domain.domain.front == "istio" and not by_issuer:
            where = domain.front_namespace or ""
            yield Prerequisite(
                content="door-authority", kind="Secret", namespace=where, name=DOOR_TRUST
            )
        if domain.domain.front == "gateway-api":
            yield Prerequisite(
                content="door-authority", kind="ConfigMap", namespace=namespace, name=DOOR_TRUST
            )


def _of_gate(config: Config) -> Iterator[Prerequisite]:
    gate, here = config.gate, config.door.namespace
    if gate is None or gate.engine == "envoy" or gate.check == "jwt":
        return
    host, by_issuer = gate_host(config), config.door.certificate_issuer is not None
    if not by_issuer:
        yield Prerequisite(
            content="gate-pair", kind="Secret", namespace=here, name=GATE_PAIR, host=host
        )
    if gate.engine == "istio" and not by_issuer:
        where = gateway_namespace(gate)
        yield Prerequisite(
            content="gate-authority", kind="Secret", namespace=where, name=GATE_TRUST
        )
    if gate.engine == "envoy-gateway":
        yield Prerequisite(
            content="gate-authority", kind="ConfigMap", namespace=here, name=GATE_TRUST
        )


def _of_names(domains: list[PublishedDomain]) -> Iterator[Prerequisite]:
    for domain in domains:
        if isinstance(domain.domain.tls, TlsSecret):
            yield Prerequisite(
                content="public-pair",
                kind="Secret",
                namespace=domain.pair_namespace,
                name=domain.domain.tls.secret,
                host=domain.domain.host,
            )
        if domain.domain.direct and domain.config.cluster.certificate_authority is None:
            yield Prerequisite(
                content="api-server-authority",
                kind="Secret",
                namespace=domain.namespace,
                name=API_SERVER_AUTHORITY,
            )


_NOTES: dict[Content, str] = {
    "door-pair": "a certificate for {host}, its key, and ca.crt; `{apply}` creates it",
    "door-authority": "the ca.crt that verifies the door; `{apply}` copies it",
    "gate-pair": "a certificate for {host}, its key, and ca.crt; `{apply}` creates it",
    "gate-authority": "the ca.crt that verifies the authorizer; `{apply}` copies it",
    "api-server-authority": "the ca.crt of kube-root-ca.crt; `{apply}` copies it",
    "public-pair": "the certificate of {host} and its key; create it",
}


def prerequisite_notes(config: Config) -> list[str]:
    """Return what must exist and be configured, one line each, for people."""
    apply = command("apply")
    lines = [
        f"{each.kind} {each.namespace}/{each.name}: "
        + _NOTES[each.content].format(host=each.host, apply=apply)
        for each in prerequisites(config)
    ]
    settings = (config.door, config.gate) if config.gate else (config.door,)
    pulled = {str(secret) for each in settings for secret in each.image_pull_secrets or ()}
    lines += [
        f"Secret {config.door.namespace}/{name}: credentials for the images' registry; create it"
        for name in sorted(pulled)
    ]
    domains = config.domains.values()
    if any(domain.front == "ingress-nginx" for domain in domains):
        lines.append(
            'ConfigMap of ingress-nginx: upstream-keepalive-connections: "0", or a connection that'
            " another Ingress opened to the same address is reused without verification"
        )
    if any(domain.front == "ingress" for domain in domains):
        page = docs_page("how-to/ingresses/ingress.md")
        lines.append(f"the ingress controller: TLS to the Service, see {page}")
    one_machine = [name for name, domain in config.domains.items() if domain.front == "envoy"]
    if one_machine:
        lines.append(f"only for `{command('up')}`, not in here: {', '.join(sorted(one_machine))}")
    return lines
