"""What a config opens, as plain values for the inventory; and what a new one opens beyond."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import product
from typing import Any, TypeVar

from daypass._core.errors import DaypassError
from daypass.config import Config
from daypass.config.gate import DEFAULT_GATE
from daypass.config.types import key_of
from daypass.render.fronts import fronts_of
from daypass.rules.patterns import EVERY_HOST

Openings = Mapping[str, Any]
"""JSON."""

_MODES = ("deny", "warn", "audit")  # from strict to lax
_BINDINGS = ("required", "optional")
_SUCCESSORS = ("forbidden", "allowed")
_ANYWHERE = "anywhere"
_PLACE = ("gateway", "front_namespace", "front_labels")
"""The fields of a gate that say which gateway it guards."""
T = TypeVar("T")
_UNKNOWN = "what was open before is not known: policy and gate may have been stricter"


class RenamedGateError(DaypassError):
    """A gate would get another name."""


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
        "metrics": {
            "scrapedFrom": list(config.metrics.scraped_from),
            "podProxy": config.metrics.pod_proxy,
        },
        "limits": config.limits.model_dump(mode="json"),
        "policy": None if config.policy is None else config.policy.model_dump(mode="json"),
        "gates": {
            name: gate.model_dump(mode="json") for name, gate in config.cluster_gates.items()
        },
    }


def widened(before: Openings | None, after: Openings) -> list[str]:
    """Return what `after` opens and `before` did not, a line each.

    `before`: None means that nothing was open; what lacks a value, that it is not known.
    """
    nothing = {**after, "hosts": {}}
    if before is None:
        return [*_hosts(nothing, after), *_metrics({}, after)]
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
    yield from _metrics(before, after)
    yield from _looser(before["policy"], after["policy"])
    is_only = {*before["gates"], *after["gates"]} == {DEFAULT_GATE}
    for name, gate in before["gates"].items():
        where = "gate" if is_only else f"gates.{name}"
        yield from _less_guarded(where, gate, after["gates"].get(name))


def require_same_names(before: Openings | None, config: Config) -> None:
    """Raise RenamedGateError if a gate would be at the gateway of one that has another name.

    For a moment both would be there, and the first one may remove the token that the second one
    needs; to remove the old one first would leave a gap.
    """
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # before is not known
        for (name, gate), (other, old) in product(
            config.cluster_gates.items(), (before or {"gates": {}})["gates"].items()
        ):
            place = {each: old[key] for each in _PLACE if (key := key_of(each)) in old}
            previous = gate.model_copy(update=place)
            if other != name and old["engine"] == gate.engine and gate.is_at_gateway_of(previous):
                raise RenamedGateError(
                    f"the gate {other} is at the gateway of {name} already, and a gate cannot be"
                    " renamed without a moment in which its gateway refuses or checks nothing",
                    f"keep its name: gates.{other} (`gate` is gates.{DEFAULT_GATE})",
                )


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


def _metrics(before: Openings, after: Openings) -> Iterator[str]:
    then, now = before.get("metrics", {}), after["metrics"]
    yield from _added("metrics.scrapedFrom", then.get("scrapedFrom", []), now["scrapedFrom"])
    if now["podProxy"] and then.get("podProxy") is not True:
        yield (
            "metrics.podProxy: every address reaches the ports with metrics, and a Role allows"
            " requests to every port of the door's Pods"
        )


def _looser(before: Openings | None, after: Openings | None) -> Iterator[str]:
    if before is None:
        return
    if after is None:
        yield "policy: removed; short-lived tokens may have any lifetime, audience and binding"
        return
    key = "longestLifetime"
    yield from _higher(f"policy.{key}", before[key], after[key])
    then, now = before["federated"][key], after["federated"][key]
    yield from _higher(f"policy.federated.{key}", then, now)
    for name in ("audiences", "exempt"):
        yield from _added(f"policy.{name}", before[name], after[name])
    for name, order in (("mode", _MODES), ("binding", _BINDINGS), ("successors", _SUCCESSORS)):
        then, now = before[name], after[name]
        if then != now and (then not in order or order.index(now) > order.index(then)):
            yield f"policy.{name}: {now}, was {then}"


def _less_guarded(gate: str, before: Openings, after: Openings | None) -> Iterator[str]:
    if after is None:
        yield f"{gate}: removed; callers can set identity headers themselves"
        return
    if any(before.get(key) != after.get(key) for key in ("engine", *map(key_of, _PLACE))):
        yield f"{gate}: another gateway is guarded, the previous one no longer is"
    if EVERY_HOST not in after["hosts"] and (gone := _more(after["hosts"], before["hosts"])):
        names = ", ".join("every other host" if host == EVERY_HOST else host for host in gone)
        yield f"{gate}.hosts: {names} no longer guarded"
    if after["audience"] != before["audience"]:
        yield f"{gate}.audience: tokens for {after['audience']} open it"
    yield from _added(f"{gate}.bound", before["bound"], after["bound"])
    yield from _wider_audiences(f"{gate}.audiences", before["audiences"], after["audiences"])
    if before["allow"] is not None and after["allow"] is None:
        yield f"{gate}.allow: removed; every identity may pass"
    elif before["allow"] is not None:
        for name, known in before["allow"].items():
            yield from _added(f"{gate}.allow.{name}", known, after["allow"][name])
    for rule in _more(after["authorize"], before["authorize"]):
        where = f"{rule['host']}{rule['path'] or ''}"
        yield f"{gate}.authorize: {where} no longer needs {rule['verb']} of {rule['resource']}"
    if (longest := before["longestStream"]) is not None:
        yield from _higher(f"{gate}.longestStream", longest, after["longestStream"])
    if before["check"] == after["check"] == "review":
        yield from _higher(f"{gate}.remember", before["remember"], after["remember"])
    for name, strict in (("check", "review"), ("others", "refuse"), ("forwardToken", False)):
        if (now := after.get(name, strict)) != strict == before.get(name, strict):
            yield f"{gate}.{name}: {str(now).lower()}, was {str(strict).lower()}"


def _wider_audiences(name: str, before: Openings, after: Openings) -> Iterator[str]:
    for audience, places in after.items():
        if audience in before:
            yield from _added(f"{name}.{audience}", before[audience], places)
        else:
            yield f"{name}: tokens for {audience} open {', '.join(places)}"


def _higher(name: str, before: Any, after: int | None) -> Iterator[str]:
    if not isinstance(before, int) or after is None or after > before:
        yield f"{name}: {'no bound' if after is None else after}, was {before}"


def _added(name: str, before: list[str], after: list[str]) -> Iterator[str]:
    if more := _more(before, after):
        yield f"{name}: {', '.join(more)} added"


def _more(before: list[T], after: list[T]) -> list[T]:
    return [value for value in after if value not in before]
