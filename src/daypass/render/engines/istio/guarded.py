"""Which requests at Istio's gateway the gate guards, and which headers no client may send there.

Requests are selected by host, and the door's by path. Every form of a name that could lead to its
route counts: in any case, with anything in place of a port, with the dot of a fully qualified name.
The door on a guarded host receives long-lived tokens, so its prefix is exempt; clients' identity
headers are removed there, too.
"""

import re
from collections.abc import Iterable

from daypass._core.objects import Object
from daypass.config import Config, GatewayApiDomain, IngressDomain, IstioDomain, IstioGate
from daypass.render import RenderError
from daypass.render.envoy.matching import all_of, has_header, is_not
from daypass.render.envoy.protobuf_any import Json, full_match
from daypass.rules.reasons import REASON_HEADER

_FRONTS = (IstioDomain, GatewayApiDomain, IngressDomain)
"""Fronts that Istio's gateway may implement."""

_OF_A_LOGIN = ("user", "email", "groups", "preferred-username")
"""oauth2-proxy's identity headers, `x-auth-request-...`: no client may send them itself."""


def door_hosts(gate: IstioGate, config: Config) -> list[str]:
    """Return the guarded hosts that may have the door on the same gateway."""
    domains = config.domains.values()
    doors = [domain.host for domain in domains if isinstance(domain, _FRONTS)]
    if gate.guards_every_host:
        return doors
    return [host for host in gate.hosts if host in doors]


def own_headers(gate: IstioGate) -> list[str]:
    """Return the headers that no client may send, in every spelling that a server may accept.

    `kubeflow_userid` and `kubeflow-userid` are the same name to some servers.
    """
    names = [gate.headers.user, gate.headers.groups, REASON_HEADER]
    if gate.has_login:
        names += [f"x-auth-request-{name}" for name in _OF_A_LOGIN]
    return [spelling for name in names for spelling in _spellings(name)]


_MOST_DASHES = 5


def _spellings(name: str) -> list[str]:
    first, *rest = name.replace("_", "-").split("-")
    if len(rest) > _MOST_DASHES:
        raise RenderError(
            f"the header {name} has more than {_MOST_DASHES} dashes",
            "a client could write each as an underscore: choose a name with fewer",
        )
    spellings = [first]
    for part in rest:
        spellings = [f"{begin}{dash}{part}" for begin in spellings for dash in "-_"]
    return spellings


def is_on_guarded_host(gate: IstioGate) -> Json:
    """Return a predicate: the host is guarded, whatever the path."""
    if gate.guards_every_host:
        return has_header(":method", ".+")  # every request has one
    return has_header(":authority", _pattern(gate.hosts))


def is_guarded(gate: IstioGate, config: Config) -> Json:
    """Return a predicate: the request is guarded."""
    on_host = is_on_guarded_host(gate)
    if not door_hosts(gate, config):
        return on_host
    prefix = re.escape(config.prefix)
    door = all_of(
        has_header(":authority", _pattern(door_hosts(gate, config))),
        has_header(":path", rf"{prefix}([/?].*)?"),
    )
    return all_of(on_host, is_not(door))


def door_matches(gate: IstioGate, config: Config) -> list[Json]:
    """Return RouteMatches of the door's requests."""
    if not door_hosts(gate, config):
        return []
    header = _header(door_hosts(gate, config))
    prefix = config.prefix
    return [{"path": prefix, "headers": [header]}, {"prefix": f"{prefix}/", "headers": [header]}]


def guarded_headers(gate: IstioGate) -> list[Json]:
    """Return HeaderMatchers, all of which match requests to guarded hosts."""
    return [] if gate.guards_every_host else [_header(gate.hosts)]


def policy_operations(gate: IstioGate, config: Config) -> list[Object]:
    """Return the guarded requests as operations of an AuthorizationPolicy."""
    prefix, door = config.prefix, door_hosts(gate, config)
    others = [host for host in gate.hosts if host not in door]
    operations: list[Object] = []
    if gate.guards_every_host:
        operations.append({"notHosts": _policy_hosts(door)} if door else {"hosts": ["*"]})
    elif others:
        operations.append({"hosts": _policy_hosts(others)})
    if door:
        but = [prefix, f"{prefix}/*"]
        operations.append({"hosts": _policy_hosts(door), "notPaths": but})
    return operations


def _policy_hosts(hosts: Iterable[str]) -> list[str]:
    # Istio ignores case here.
    return [f"{host}{end}" for host in hosts for end in ("", ":*", ".", ".:*")]


def _header(hosts: Iterable[str]) -> Json:
    return {"name": ":authority", "string_match": {"safe_regex": full_match(_pattern(hosts))}}


def _pattern(hosts: Iterable[str]) -> str:
    return rf"(?i)({'|'.join(re.escape(host) for host in hosts)})\.?(:.*)?"
