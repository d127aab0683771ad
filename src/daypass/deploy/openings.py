"""What a config opens, as plain values for the inventory; and what a new one opens beyond."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from daypass.config import Config, Policy
from daypass.config.gate import DEFAULT_GATE
from daypass.render.engines import AnyEngine, engines_of
from daypass.render.fronts import fronts_of
from daypass.rules.patterns import EVERY_HOST

Openings = Mapping[str, Any]
"""JSON."""

_MODES = ("deny", "warn", "audit")  # from strict to lax
_BINDINGS = ("required", "optional")
_SUCCESSORS = ("forbidden", "allowed")
_ANYWHERE = "anywhere"
_UNKNOWN = "what was open before is not known: policy and gate may have been stricter"


def openings(config: Config) -> Openings:
    """Return everything in a config that decides how much of the cluster is open."""
    return {
        "server": config.cluster.server,
        "addresses": list(config.cluster.addresses) or [_ANYWHERE],
        "prefix": config.prefix,
        "hosts": {
            front.domain.host: {
                "direct": front.is_direct,
                "outside": not front.domain.ends_tls,
                "from": front.pods_namespace or _ANYWHERE,
            }
            for front in fronts_of(config)
        },
        "trustedHops": config.door.trusted_hops,
        "limits": config.limits.model_dump(mode="json"),
        "policy": None if config.policy is None else _policy(config.policy),
        "gates": {engine.name: _gate(engine) for engine in engines_of(config)},
    }


def widened(before: Openings | None, after: Openings) -> list[str]:
    """Return what `after` opens and `before` did not, a line each.

    `before`: None means that nothing was open; what lacks a value, that it is not known.
    """
    nothing = {**after, "hosts": {}}
    if before is None:
        return list(_hosts(nothing, after))
    try:
        return list(_widened(before, after))
    except (KeyError, TypeError, AttributeError):
        return [_UNKNOWN, *_hosts(nothing, after)]


def _widened(before: Openings, after: Openings) -> Iterator[str]:
    yield from _hosts(before, after)
    yield from _places(before, after)
    yield from _higher("door.trustedHops", before["trustedHops"], after["trustedHops"])
    for name, value in after["limits"].items():
        yield from _higher(f"limits.{name}", before["limits"][name], value)
    yield from _looser(before["policy"], after["policy"])
    for name, gate in before["gates"].items():
        where = "gate" if name == DEFAULT_GATE else f"gates.{name}"
        yield from _less_guarded(where, gate, after["gates"].get(name))


def _policy(policy: Policy) -> Openings:
    return {
        "longestLifetimeSeconds": policy.longest_lifetime_seconds,
        "federatedLifetimeSeconds": policy.federated.longest_lifetime_seconds,
        "audiences": list(policy.audiences),
        "exempt": list(policy.exempt),
        "mode": policy.mode,
        "binding": policy.binding,
        "successors": policy.successors,
    }


def _gate(engine: AnyEngine) -> Openings:
    gate = engine.gate
    return {
        "where": engine.guarded_gateway(),
        "hosts": list(gate.hosts),
        "audience": gate.audience,
        "others": "login" if gate.has_login else "refuse",
        "bound": list(gate.bound),
        "forwardToken": gate.forward_token,
    }


def _hosts(before: Openings, after: Openings) -> Iterator[str]:
    known, moved = before["hosts"], before["prefix"] != after["prefix"]
    for host, now in after["hosts"].items():
        then = known.get(host)
        url = f"https://{host}{after['prefix']}"
        how = "straight to the API server, without a door" if now["direct"] else "through the door"
        if then is None or moved:
            yield f"{url} is published, {how}"
            continue
        if now["direct"] and then.get("direct") is not True:
            yield f"{url} goes {how}"
        if now["outside"] and then.get("outside") is not True:
            yield (
                f"{url}: TLS may end before the ingress or gateway, where nothing here can see"
                " plain http"
            )
        if now["from"] != then.get("from") and not now["direct"]:
            yield f"{url}: the door takes connections from {_named(now['from'])}"


def _named(place: str) -> str:
    return "any namespace" if place == _ANYWHERE else f"the namespace {place}"


def _places(before: Openings, after: Openings) -> Iterator[str]:
    if after["server"] != before["server"]:
        yield f"cluster.server: another API server is published, {after['server']}"
    known = before["addresses"]
    if _ANYWHERE not in known and (more := _more(known, after["addresses"])):
        yield f"cluster.addresses: the door may connect to {', '.join(more)}"


def _looser(before: Openings | None, after: Openings | None) -> Iterator[str]:
    if before is None:
        return
    if after is None:
        yield "policy: removed; short-lived tokens may have any lifetime, audience and binding"
        return
    for name in ("longestLifetimeSeconds", "federatedLifetimeSeconds"):
        yield from _higher(f"policy.{name}", before[name], after[name])
    for name in ("audiences", "exempt"):
        if more := _more(before[name], after[name]):
            yield f"policy.{name}: {', '.join(more)} added"
    for name, order in (("mode", _MODES), ("binding", _BINDINGS), ("successors", _SUCCESSORS)):
        then, now = before[name], after[name]
        if then != now and (then not in order or order.index(now) > order.index(then)):
            yield f"policy.{name}: {now}, was {then}"


def _less_guarded(gate: str, before: Openings, after: Openings | None) -> Iterator[str]:
    if after is None:
        yield f"{gate}: removed; callers can set identity headers themselves"
        return
    if after["where"] != before["where"]:
        yield f"{gate}: another gateway is guarded, the previous one no longer is"
    if EVERY_HOST not in after["hosts"] and (gone := _more(after["hosts"], before["hosts"])):
        names = ", ".join("every other host" if host == EVERY_HOST else host for host in gone)
        yield f"{gate}.hosts: {names} no longer guarded"
    if after["audience"] != before["audience"]:
        yield f"{gate}.audience: tokens for {after['audience']} open it"
    if more := _more(before["bound"], after["bound"]):
        yield f"{gate}.bound: {', '.join(more)} added"
    for name, strict in (("others", "refuse"), ("forwardToken", False)):
        if after[name] != strict and before[name] == strict:
            yield f"{gate}.{name}: {_spelt(after[name])}, was {_spelt(strict)}"


def _spelt(value: str | bool) -> str:
    return str(value).lower()


def _higher(name: str, before: Any, after: int) -> Iterator[str]:
    if not isinstance(before, int) or after > before:
        yield f"{name}: {after}, was {before}"


def _more(before: list[str], after: list[str]) -> list[str]:
    return [value for value in after if value not in before]
