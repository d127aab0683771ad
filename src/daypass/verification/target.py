"""What `daypass verify` checks: a door's URL, and what the config says about it."""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core.net import HostPort
from daypass._core.token_bounds import PROBE_PATH
from daypass.client.door import DoorUrl
from daypass.config import Config, Domain, TlsIssuer
from daypass.render.fronts import AnyFront, fronts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationTarget:
    """A published domain. `name`: the config's, or the host of the URL.

    `is_local`: `daypass up` serves it, not a cluster. `has_issuer`: cert-manager issues its
    certificate. `has_record`: ExternalDNS creates its record. `certificate_authority`: PEM to trust
    instead of the system's authorities. `gate`: where the gate answers, None if that is not known.
    `issuer`: the `iss` of the cluster's tokens. `has_policy`: the config has a policy for it.
    """

    name: str
    door: DoorUrl
    is_local: bool = False
    has_issuer: bool = False
    has_record: bool = False
    is_direct: bool = False
    certificate_authority: str | None = None
    gate: HostPort | None = None
    gate_audience: str = ""
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
    return [
        _target(
            config,
            each,
            domain,
            fronts.get(each),
            certificate_authority or (machine_authority if domain.tls is None else None),
        )
        for each, domain in config.domains.items()
        if name in (None, each)
    ]


def _target(
    config: Config,
    name: str,
    domain: Domain,
    front: AnyFront | None,
    certificate_authority: str | None,
) -> VerificationTarget:
    door = HostPort(domain.host, config.port_of(domain, config.local.door))
    host, audience = None, ""
    if found := config.gate_of(domain):
        host, audience = domain.host, found[1].audience
    else:  # another host is the next best
        for each in config.every_gate.values():
            audience = each.audience
            if (host := next(iter(each.named_hosts), None)) is not None:
                break
    gate = None if host is None else HostPort(host, config.port_of(domain, config.local.gate))
    return VerificationTarget(
        name=name,
        door=DoorUrl.parse(f"https://{door}{config.prefix}"),
        is_local=front is None,
        has_issuer=isinstance(domain.tls, TlsIssuer),
        has_record=front is not None and bool(front.dns_annotations),
        is_direct=front is not None and front.is_direct,
        certificate_authority=certificate_authority,
        gate=gate,
        gate_audience=audience,
        issuer=config.cluster.issuer,
        has_policy=config.policy is not None and front is not None,
    )
