"""What `daypass verify` checks: a door's URL, and what the config says about it."""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.net import HostPort
from daypass.client.door import DoorUrl
from daypass.config import Config, Domain, TlsIssuer
from daypass.render.fronts import fronts_of
from daypass.rules.patterns import EVERY_HOST, HostPattern

MADE_UP = "daypass-verify"
"""Stands for a model and its namespace where a gate guards no host by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTarget:
    """A gate. `name`: the config's, if there are several. `audiences`: of tokens for it, the one
    that opens all first. `address`: where it answers; None if that is not known, for a reason.
    `is_checked`: with this domain: it is at its host, or at no host of a better domain.
    """

    name: str
    audiences: tuple[str, ...]
    address: HostPort | None
    why_not: str = ""
    is_checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationTarget:
    """A published domain. `name`: the config's, or the host of the URL.

    `is_local`: `daypass up` serves it, not a cluster. `has_issuer`: cert-manager issues its
    certificate. `has_record`: ExternalDNS creates its record. `certificate_authority`: PEM to trust
    instead of the system's authorities. `gates`: all of the config. `issuer`: the `iss` of the
    cluster's tokens. `has_policy`: the config has a policy for it.
    """

    name: str
    door: DoorUrl
    is_local: bool = False
    has_issuer: bool = False
    has_record: bool = False
    certificate_authority: str | None = None
    gates: tuple[GateTarget, ...] = ()
    issuer: str | None = None
    has_policy: bool = False

    @property
    def token_path(self) -> str:
        """The path of a TokenRequest that an anonymous caller may not make."""
        return self.door.path + PROBE_PATH


def target_of_url(url: str, certificate_authority: str | None) -> VerificationTarget:
    """Return a target without a config. Raises CredentialsError for an invalid door URL."""
    door = DoorUrl.parse(url)
    return VerificationTarget(
        name=door.address.host, door=door, certificate_authority=certificate_authority
    )


def targets_of(
    config: Config,
    name: str | None,
    certificate_authority: str | None,
    machine_authority: str | None = None,
) -> list[VerificationTarget]:
    """Return the domains of a config, or the one of this name. Raises UsageError if it has none.

    `machine_authority`: PEM of the authority of `daypass up`, for domains with its certificates.
    """
    if name is not None:
        config.find_domain(name)
    fronts = {front.name: front for front in fronts_of(config)}
    names = set(config.gates)
    own = {each: config.gate_of(domain) for each, domain in config.domains.items()}
    checked = {each: names if found is None else {found[0]} for each, found in own.items()}
    if name is None:  # with the first domain, those of no domain
        checked[next(iter(own))] |= names - set().union(*checked.values())
    targets = []
    for each, domain in config.domains.items():
        if name not in (None, each):
            continue
        front = fronts.get(each)
        door = HostPort(domain.host, config.port_of(domain, config.local.door))
        own_authority = machine_authority if domain.tls is None else None
        gates = (
            _gate_target(config, gate, domain, is_checked=gate in checked[each])
            for gate in config.gates
        )
        target = VerificationTarget(
            name=each,
            door=DoorUrl.parse(f"https://{door}{config.prefix}"),
            is_local=front is None,
            has_issuer=isinstance(domain.tls, TlsIssuer),
            has_record=front is not None and bool(front.dns_annotations),
            certificate_authority=certificate_authority or own_authority,
            gates=tuple(gates),
            issuer=config.cluster.issuer,
            has_policy=config.policy is not None and front is not None,
        )
        targets.append(target)
    return targets


def _gate_target(config: Config, name: str, domain: Domain, *, is_checked: bool) -> GateTarget:
    """Return where a gate answers: at the domain, or else at a host of its own."""
    gate, several = config.gates[name], len(config.gates) > 1
    host, why_not = gate.verify_host or domain.host, ""
    if gate.verify_host is None and config.gate_of(domain) != (name, gate):
        patterns = sorted(map(HostPattern.parse, gate.hosts), key=lambda each: not each.is_literal)
        forms = (each.example(MADE_UP) for each in patterns if each.text != EVERY_HOST)
        host = next(forms, "")
        hosts = f"gates.{name}.hosts"
        if not host:
            why_not = f"{hosts} name no host to send the request to: add verifyHost"
        elif host.endswith(".svc.cluster.local"):
            why_not = f"{hosts} are names inside the cluster"
    return GateTarget(
        name=name if several else "",
        audiences=(gate.audience, *gate.audiences),
        address=None if why_not else HostPort(host, config.port_of(domain, config.local.gate)),
        why_not=why_not,
        is_checked=is_checked,
    )
