"""How the guarded requests are told from others on the same gateway: by their host, and the door's
by its path.

Every form of a name that could lead to its route counts: in any case, with a port or what stands
for one, with the dot of a fully qualified name. The door on a guarded host is asked with long-lived
tokens, so its prefix is left to it; but no identity header of a client gets there either.
"""

import re
from collections.abc import Iterable

from daypass.render.envoy.matching import all_of, has_header, is_not
from daypass.render.envoy.typed import Json, full_match
from daypass.render.istio.settings import IstioGate
from daypass.render.objects import Object


def is_on_guarded_host(settings: IstioGate) -> Json:
    """A matcher's predicate, whatever the path."""
    if settings.gate.guards_every_host:
        return has_header(":method", ".+")  # every request has one
    return has_header(":authority", _pattern(settings.gate.hosts))


def is_guarded(settings: IstioGate) -> Json:
    """A matcher's predicate."""
    on_host = is_on_guarded_host(settings)
    if not settings.door_hosts:
        return on_host
    prefix = re.escape(settings.config.prefix)
    door = all_of(
        has_header(":authority", _pattern(settings.door_hosts)),
        has_header(":path", rf"{prefix}([/?].*)?"),
    )
    return all_of(on_host, is_not(door))


def door_matches(settings: IstioGate) -> list[Json]:
    """The door's requests, as RouteMatches."""
    if not settings.door_hosts:
        return []
    header = _header(settings.door_hosts)
    prefix = settings.config.prefix
    return [{"path": prefix, "headers": [header]}, {"prefix": f"{prefix}/", "headers": [header]}]


def guarded_headers(settings: IstioGate) -> list[Json]:
    """HeaderMatchers, all of which the guarded hosts fulfil."""
    return [] if settings.gate.guards_every_host else [_header(settings.gate.hosts)]


def policy_operations(settings: IstioGate) -> list[Object]:
    """The guarded requests as operations of an AuthorizationPolicy."""
    prefix, door = settings.config.prefix, settings.door_hosts
    others = [host for host in settings.gate.hosts if host not in door]
    operations: list[Object] = []
    if settings.gate.guards_every_host:
        operations.append({"notHosts": _policy_hosts(door)} if door else {"hosts": ["*"]})
    elif others:
        operations.append({"hosts": _policy_hosts(others)})
    if door:
        but = [prefix, f"{prefix}/*"]
        operations.append({"hosts": _policy_hosts(door), "notPaths": but})
    return operations


def _policy_hosts(hosts: Iterable[str]) -> list[str]:
    # They are matched in any case.
    return [f"{host}{end}" for host in hosts for end in ("", ":*", ".", ".:*")]


def _header(hosts: Iterable[str]) -> Json:
    return {"name": ":authority", "string_match": {"safe_regex": full_match(_pattern(hosts))}}


def _pattern(hosts: Iterable[str]) -> str:
    return rf"(?i)({'|'.join(re.escape(host) for host in hosts)})\.?(:.*)?"
