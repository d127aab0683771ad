"""Which door an identity is for: what was said, else the config, else what its marks say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass.client.address import Door, HostPort
from daypass.client.settings import check_audience
from daypass.identity import marks
from daypass.identity.account import Account
from daypass.identity.handover import (
    LONGEST_LIFETIME_SECONDS,
    SHORTEST_LIFETIME_SECONDS,
    Handover,
    NoHandoverError,
    check_authority,
    lifetime_of,
)

if TYPE_CHECKING:
    from daypass.spec import Config, Domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was said about the credentials. `door`: a URL; `domain`: of the config; `authority`:
    PEM."""

    door: str | None = None
    domain: str | None = None
    authority: str | None = None
    audience: str | None = None
    lifetime_seconds: int | None = None


def find_domain(order: Order, config: Config, account: Account | None) -> Domain | None:
    """The domain of the config that is meant; None where another door is named. UsageError."""
    if order.door is not None:
        return None
    known = ", ".join(sorted(config.domains))
    if order.domain is not None:
        if order.domain not in config.domains:
            raise UsageError(f"the config has no domain {order.domain[:80]!r}", f"it has: {known}")
        return config.domains[order.domain]
    if len(config.domains) == 1:
        return next(iter(config.domains.values()))
    before = account.annotations.get(marks.DOOR) if account is not None else None
    for domain in config.domains.values():
        if before is not None and _url(domain, config) == before:
            return domain
    raise UsageError("the config has several domains", f"name one with --domain: {known}")


def complete(
    order: Order, config: Config | None, domain: Domain | None, account: Account | None
) -> Handover:
    """All of a credentials file but the token. Raises NoHandoverError, UsageError."""
    before = account.annotations if account is not None and account.is_ours else {}
    door = order.door or (_url(domain, config) if domain and config else before.get(marks.DOOR))
    audience = order.audience or _audience(config) or before.get(marks.AUDIENCE)
    if door is None:
        raise NoHandoverError(
            "nobody says at which door the identity is to come in",
            "name it with --door URL, or the daypass.yaml that describes it with --config FILE",
        )
    if audience is None:
        raise NoHandoverError(
            "nobody says whom its tokens are for", "name the audience with --audience A"
        )
    door = Door.parse(door).url
    authority = order.authority
    if authority is None and door == before.get(marks.DOOR):
        authority = before.get(marks.AUTHORITY)
    return Handover(
        door=door,
        audience=check_audience(audience),
        lifetime_seconds=_lifetime(order, config, before.get(marks.LIFETIME)),
        authority=None if authority is None else check_authority(authority),
    )


def _url(domain: Domain, config: Config) -> str:
    """Where a domain's door is: on one machine, at the port that `daypass up` takes."""
    port = config.local.door.port if domain.front == "envoy" else 443
    if port == 0:
        raise UsageError(
            "the door takes any free port (local.door)", "say which it has taken: --door URL"
        )
    return f"https://{str(HostPort(domain.host, port)).removesuffix(':443')}{config.prefix}"


def _audience(config: Config | None) -> str | None:
    if config is None:
        return None
    if config.gate is not None:
        return config.gate.audience
    audiences = config.policy.audiences if config.policy is not None else ()
    return audiences[0] if len(audiences) == 1 else None


def _lifetime(order: Order, config: Config | None, before: str | None) -> int:
    longest = LONGEST_LIFETIME_SECONDS
    if config is not None and config.policy is not None:
        longest = config.policy.longest_lifetime_seconds
    asked = order.lifetime_seconds
    if asked is None:
        return min(lifetime_of(before or ""), longest)
    if not SHORTEST_LIFETIME_SECONDS <= asked <= longest:
        raise UsageError(
            f"a lifetime of {asked} seconds is not possible",
            f"from {SHORTEST_LIFETIME_SECONDS} to {longest} seconds are",
        )
    return asked
