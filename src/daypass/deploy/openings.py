"""What a config opens, as plain values for the inventory; what a new one opens beyond, and ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import product
from typing import Any

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, warning
from daypass._core.hints import command
from daypass.config import Config
from daypass.config.domain import INSIDE, OUTSIDE
from daypass.config.errors import Location
from daypass.config.schema import CHOSEN, level_at, levels, name_of
from daypass.config.settings import DEFAULT_LONGEST_LIFETIME_SECONDS
from daypass.config.types import ADDED, CHANGED, NEVER, REMOVED, Opens, key_of
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts import fronts_of
from daypass.rules.patterns import EVERY_HOST

Openings = Mapping[str, Any]
"""JSON: the config with `domains` by host, and every gate in `gates`."""

NOTHING: Openings = {"domains": {}, "policy": None, "gates": {}}
"""What is open after everything is removed."""

_ALL = {"cluster.addresses": "any address", "gates.NAME.hosts": EVERY_HOST}
"""The entries that stand for all others, by the name of their list."""
_NO_FACTS = ClusterFacts()
_NOT_KNOWN: Any = object()
"""The value of a key that is not in what was confirmed."""
_GATEWAY_KEYS = ("gateway", "gateway_namespace", "gateway_labels")
"""The fields of a gate that say which gateway it guards."""
_WITHOUT_POLICY = {"longestLifetime": DEFAULT_LONGEST_LIFETIME_SECONDS}
_WHY = {
    "domains.NAME.tls": "TLS may end before the ingress or gateway, where nothing sees plain http",
    "gates.NAME.allow": "every identity may pass",
    "gates.NAME.headers.groups": "callers can set the previous header themselves",
    "gates.NAME.headers.user": "callers can set the previous header themselves",
    "policy": "short-lived tokens may have any lifetime, audience and binding",
}
"""What follows, by the name of the level."""
_Found = Iterator[tuple[Location, str]]
"""Where more opens, and how; "" if what was open before is not known."""


REFUSES = "refuses"
"""The check of a finding about requests that a gate will refuse."""


class RenamedGateError(DaypassError):
    """A gate would get another name."""


def openings(config: Config, facts: ClusterFacts = _NO_FACTS) -> Openings:
    """Return everything in a config that decides how much of the cluster is open.

    `facts`: the contents of the files that it names.
    """
    cluster, found = config.cluster, config.model_dump(mode="json", exclude={"local"})
    found["cluster"] |= {
        "addresses": list(cluster.addresses) or [_ALL["cluster.addresses"]],
        "serverName": None if cluster.server_name == cluster.server_host else cluster.server_name,
        "certificateAuthority": _digest(facts.authority_pem),
        "keys": _digest(facts.keys),
    }
    found["domains"] = {
        front.domain.host: {
            **front.domain.model_dump(mode="json"),
            "tls": INSIDE if front.domain.ends_tls else OUTSIDE,
            "frontNamespace": front.pods_namespace or "any namespace",
        }
        for front in fronts_of(config)
    }
    gates = config.cluster_gates.items()
    found["gates"] = {name: gate.model_dump(mode="json") for name, gate in gates}
    return found


def _digest(content: str) -> str | None:
    return f"sha256:{sha256(content.encode()).hexdigest()}" if content else None


def widened(before: Openings | None, after: Openings) -> list[str]:
    """Return what `after` opens and `before` did not, a line each.

    `before`: None means that nothing was open. What it lacks is not known, and counts as opened.
    """
    known = {**after, "domains": {}, "metrics": {}} if before is None else before
    lines, unknown = [], []
    for location, how in _opened((), known, after):
        name, why = _named(location, known, after), _WHY.get(name_of(location))
        if how:
            lines.append(f"{name}{how}" if why is None else f"{name}{how}; {why}")
        else:
            unknown.append(name)
    lines += _past_logins(known, after)
    if unknown:
        lines.insert(0, f"not known how open it was before: {', '.join(unknown)}")
    return lines


def _past_logins(before: Openings, after: Openings) -> Iterator[str]:
    """Yield where tokens pass a login, and did not before."""
    for name, gate in after["gates"].items():
        known = _mapping(_mapping(before, "gates"), name).get("hosts", [])
        hosts = [host for host in gate["hosts"] if host not in known and EVERY_HOST not in known]
        if hosts and gate.get("login") == "keep":
            where = ", ".join("every host" if host == EVERY_HOST else host for host in hosts)
            key = _named(("gates", name), before, after)
            yield f"{key}.hosts: the gate's tokens pass the login at {where}"


def _named(location: Location, before: Openings, after: Openings) -> str:
    """Return the name of a location for people."""
    head, *keys = map(str, location)
    if head == "domains" and keys:
        return ": ".join([f"https://{keys[0]}{after['prefix']}", *keys[1:]])
    return ".".join([head, *keys])


def _mapping(section: Any, key: str) -> Mapping[str, Any]:
    """Return the mapping at a key of a section; an empty one if there is none."""
    found = section.get(key) if isinstance(section, dict) else None
    return found if isinstance(found, dict) else {}


def _opened(at: Location, before: Any, after: Openings) -> _Found:
    """Yield what opens more in a section, or in a mapping of sections."""
    level, known = level_at(at), before if isinstance(before, dict) else {}
    for key, now in after.items():
        location, then = (*at, key), known.get(key, _NOT_KNOWN)
        if key not in level.fields:  # the name of a section in a mapping
            if key in known:
                yield from _opened(location, then, now)
            continue
        notes = level.fields[key].metadata
        opens = next((note for note in notes if isinstance(note, Opens)), CHANGED)
        if f"{name_of(location)}.{CHOSEN}" in levels():
            yield from _entries(location, opens, then, now)
            yield from _opened(location, then, now)
        elif isinstance(now, dict) and level_at(location).fields and opens != NEVER:
            if then is None and opens == REMOVED:
                then = _WITHOUT_POLICY
                now = {name: now[name] for name in then if name in now}
            yield from _opened(location, then, now)
        else:
            yield from _of_value(location, opens, then, now)


def _entries(location: Location, opens: Opens, then: Any, now: Openings) -> _Found:
    """Yield which sections of a mapping open more by being there, or by being gone."""
    known = then if isinstance(then, dict) else {}
    if opens == ADDED:
        for name in (each for each in now if each not in known):
            yield (*location, name), " is published"
    elif then is not known:
        yield location, ""
    else:
        for name in (each for each in known if each not in now):
            headers = " and ".join(map(str, _mapping(known[name], "headers").values()))
            how = f"callers can set {headers or 'identity headers'} themselves"
            yield (*location, name), f": removed; {how}"


def _of_value(location: Location, opens: Opens, then: Any, now: Any) -> _Found:
    """Yield how a value opens more than the one before."""
    if isinstance(now, dict) and opens == ADDED:  # lists, with names of the user's choice
        for name, each in now.items():
            known = then.get(name, []) if isinstance(then, dict) else then
            yield from _of_value((*location, name), opens, known, each)
    elif isinstance(now, list) and opens in (ADDED, REMOVED):
        most, least = (now, then) if opens == ADDED else (then, now)
        if not isinstance(then, list):
            yield from [(location, "")] if most else ()
        elif _ALL.get(name_of(location)) not in least:
            more = ", ".join(_shown(each) for each in most if each not in least)
            yield from [(location, f": {more} {opens.by}")] if more else ()
    elif _is_more(opens, then, now):
        how = "removed" if opens == REMOVED else f"{_shown(now)}, was {_shown(then)}"
        yield location, "" if then is _NOT_KNOWN else f": {how}"


def _is_more(opens: Opens, then: Any, now: Any) -> bool:
    """Return whether a value opens more than the one before, or may do so."""
    match opens.by:
        case "never":
            return False
        case "more":
            is_bound = isinstance(then, int) and now is not None and now <= then
            return then is not None and not is_bound
        case "laxer":
            order = opens.order
            return order.index(now) > (order.index(then) if then in order else 0)
    return bool(then != now)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=repr)


def ended(before: Openings | None, after: Openings) -> list[Finding]:
    """Return what works no longer with `after`, as far as `before` is known."""
    login = "on Istio, `login: keep` lets users log in there with a browser"
    with suppress(KeyError, TypeError, AttributeError):
        known = NOTHING if before is None else before
        found = [warning("ends", fact, _who_uses_it()) for fact in _gone(known, after)]
        return [*found, *(warning(REFUSES, fact, login) for fact in _refused(known, after))]
    return []


def _who_uses_it() -> str:
    who = command("identity", "list", "-A", "-o", "wide")
    again = command("identity", "create", "NAME", "-n", "NAMESPACE", "--force")
    return f"`{who}` shows who uses it; write the credentials file of each again:\n{again}"


def _gone(before: Openings, after: Openings) -> Iterator[str]:
    for host in before["domains"]:
        if host not in after["domains"] or before["prefix"] != after["prefix"]:
            url = f"https://{host}{before['prefix']}"
            yield f"{url}: the door disappears, and credentials files that name it stop working"
    then, now = (_mapping(each, "policy").get("audiences", []) for each in (before, after))
    for audience in then:
        if now and audience not in now:
            yield f"policy.audiences: no token for {audience} can be requested any more"
    for name in before["gates"].keys() & after["gates"].keys():
        old, new = before["gates"][name], after["gates"][name]
        gone = {old["audience"], *old["audiences"]} - {new["audience"], *new["audiences"]}
        for audience in sorted(gone):
            yield f"{_named(('gates', name), before, after)}: tokens for {audience} no longer pass"


def _refused(before: Openings, after: Openings) -> Iterator[str]:
    """Yield where a gate refuses requests without a token for it, and did not before."""
    for name, gate in after["gates"].items():
        then = before["gates"].get(name, {"login": "keep"})
        known = [] if then.get("login") == "keep" else then["hosts"]
        hosts = [host for host in gate["hosts"] if host not in known]
        if hosts and gate.get("login") != "keep":
            where = "every host of its gateway" if EVERY_HOST in hosts else ", ".join(hosts)
            key = _named(("gates", name), before, after)
            yield f"{key}: requests without a token for it are refused at {where}, browsers' too"


def require_same_names(before: Openings | None, config: Config) -> None:
    """Raise RenamedGateError if a gate would be at the gateway of one that has another name.

    For a moment both would be there, and the first one may remove the token that the second one
    needs; to remove the old one first would leave a gap.
    """
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # before is not known
        for (name, gate), (other, old) in product(
            config.cluster_gates.items(), (before or {"gates": {}})["gates"].items()
        ):
            gateway = {each: old[key] for each in _GATEWAY_KEYS if (key := key_of(each)) in old}
            previous = gate.model_copy(update=gateway)
            if other != name and old["engine"] == gate.engine and gate.is_at_gateway_of(previous):
                raise RenamedGateError(
                    f"the gate {other} is at the gateway of {name} already, and a gate cannot be"
                    " renamed without a moment in which its gateway refuses or checks nothing",
                    f"keep its name: gates.{other}",
                )
