"""What the manifests depend on: Secrets, which are never rendered, and settings of others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from daypass._core.hints import command
from daypass._core.installation import docs_page
from daypass.config import Config, TlsSecret
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.names import (
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

Content: TypeAlias = Literal["pair", "authority", "api-server-authority", "public-pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """An object that must exist, and its content.

    - pair: `tls.crt` and `tls.key` of the door or the authorizer for `host`, and the `ca.crt` that
      verifies it; `apply` creates it.
    - authority: the `ca.crt` of the Secret `pair`, where a front looks for it; `apply` copies it.
    - api-server-authority: the `ca.crt` of kube-root-ca.crt; `apply` copies it.
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
    domains = published_domains(config, ClusterFacts())
    behind_door = [domain for domain in domains if not domain.domain.direct]
    found = [*_of_gate(config), *_of_names(domains)]
    if behind_door:
        istio = [d.front_namespace or "" for d in behind_door if d.domain.front == "istio"]
        gateway_api = any(domain.domain.front == "gateway-api" for domain in behind_door)
        host = door_host(config)
        found = [*_serving(config, DOOR_PAIR, DOOR_TRUST, host, istio, gateway_api), *found]
    return tuple(dict.fromkeys(found))


def _serving(
    config: Config, pair: str, trust: str, host: str, istio: list[str], gateway_api: bool
) -> Iterator[Prerequisite]:
    """Yield the certificate of a server, and copies of its authority: for Istio in Secrets of these
    namespaces, for the Gateway API in a ConfigMap."""
    here = config.door.namespace
    if config.door.certificate_issuer is None:  # one writes Secrets, no ConfigMaps
        yield Prerequisite(content="pair", kind="Secret", namespace=here, name=pair, host=host)
        for where in istio:
            yield Prerequisite(
                content="authority", kind="Secret", namespace=where, name=trust, pair=pair
            )
    if gateway_api:
        yield Prerequisite(
            content="authority", kind="ConfigMap", namespace=here, name=trust, pair=pair
        )


def _of_gate(config: Config) -> Iterator[Prerequisite]:
    gate = config.gate
    if gate is None or gate.engine == "envoy" or gate.check == "jwt":
        return iter(())
    istio = [gateway_namespace(gate)] if gate.engine == "istio" else []
    host, gateway_api = gate_host(config), gate.engine == "envoy-gateway"
    return _serving(config, GATE_PAIR, GATE_TRUST, host, istio, gateway_api)


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
    "pair": "a certificate for {host}, its key, and ca.crt; `{apply}` creates it",
    "authority": "the ca.crt that verifies the {server}; `{apply}` copies it",
    "api-server-authority": "the ca.crt of kube-root-ca.crt; `{apply}` copies it",
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
