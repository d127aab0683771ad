"""Which requests at Istio's gateway the gate guards, and which headers no client may send there.

Requests are selected by host, and the door's by path. Every form of a name that could lead to its
route counts: in any case, with anything in place of a port, with the dot of a fully qualified name.
Where hosts name models, or audiences open hosts and paths, one form passes; others are refused.

The door on a guarded host receives long-lived tokens, so its prefix is exempt; clients' identity
headers are removed there, too.
"""

import re
from collections.abc import Iterable

from daypass._core.kubernetes.objects import Object
from daypass.config import Config, GatewayApiDomain, IngressDomain, IstioDomain, IstioGate
from daypass.render import RenderError
from daypass.render.envoy.token_rules import any_pattern, is_host
from daypass.render.envoy.xds import Json, all_of, full_match, has_header, is_not
from daypass.rules.decision import Rules
from daypass.rules.patterns import literal_end
from daypass.rules.reasons import REASON_HEADER

_FRONTS = (IstioDomain, GatewayApiDomain, IngressDomain)
"""Fronts that Istio's gateway may implement."""

_OF_A_LOGIN = ("user", "email", "groups", "preferred-username")
"""oauth2-proxy's identity headers, `x-auth-request-...`: no client may send them itself."""


def door_hosts(rules: Rules, config: Config) -> list[str]:
    """Return the guarded hosts that may have the door on the same gateway."""
    domains = config.domains.values()
    doors = [domain.host for domain in domains if isinstance(domain, _FRONTS)]
    found = [door for host in rules.hosts for door in doors if host.is_near(door)]
    return list(dict.fromkeys(found))


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


def is_on_guarded_host(rules: Rules) -> Json:
    """Return a predicate: the host is guarded, whatever the path."""
    if rules.guards_every_host:
        return has_header(":method", ".+")  # every request has one
    return has_header(":authority", _near(rules))


def is_misnamed(rules: Rules) -> Json | None:
    """Return a predicate for requests to guarded hosts whose form is none of the gate's. By a
    wildcard they could lead to the same routes. None if every form may pass.
    """
    if rules.guards_every_host or not rules.is_strict:
        return None
    return is_not(is_host(rules.hosts))


def is_guarded(rules: Rules, config: Config) -> Json:
    """Return a predicate: the request is guarded."""
    on_host = is_on_guarded_host(rules)
    if not (doors := door_hosts(rules, config)):
        return on_host
    prefix = re.escape(config.prefix)
    door = all_of(
        has_header(":authority", _spellings_of(doors)),
        has_header(":path", rf"{prefix}([/?].*)?"),
    )
    return all_of(on_host, is_not(door))


def door_matches(rules: Rules, config: Config) -> list[Json]:
    """Return RouteMatches of the door's requests."""
    if not (doors := door_hosts(rules, config)):
        return []
    header = _header(_spellings_of(doors))
    prefix = config.prefix
    return [{"path": prefix, "headers": [header]}, {"prefix": f"{prefix}/", "headers": [header]}]


def guarded_headers(rules: Rules) -> list[Json]:
    """Return HeaderMatchers, all of which match requests to guarded hosts."""
    return [] if rules.guards_every_host else [_header(_near(rules))]


def policy_operations(rules: Rules, config: Config) -> list[Object]:
    """Return the guarded requests as operations of an AuthorizationPolicy, but for those of
    patterns.
    """
    prefix, door = config.prefix, door_hosts(rules, config)
    names = (form for host in rules.hosts if host.is_literal for form in host.forms)
    others = [name for name in map(".".join, names) if name not in door]
    operations: list[Object] = []
    if rules.guards_every_host:
        operations.append({"notHosts": _policy_hosts(door)} if door else {"hosts": ["*"]})
    elif others:
        operations.append({"hosts": _policy_hosts(others)})
    if door:
        but = [prefix, f"{prefix}/*"]
        operations.append({"hosts": _policy_hosts(door), "notPaths": but})
    return operations


def wide_operations(rules: Rules, config: Config) -> list[Object]:
    """Return operations for the hosts of patterns, and for others: an AuthorizationPolicy knows
    nothing but the end of a host, and hosts with a port end with a digit, whatever they are.
    """
    forms = [form for host in rules.hosts if not host.is_literal for form in host.forms]
    if rules.guards_every_host or not forms:
        return []
    ends = dict.fromkeys("".join(f".{label}" for label in literal_end(form)) for form in forms)
    hosts = [f"*{end}{dot}" for end in ends for dot in ("", ".")]
    hosts = ["*"] if "*" in hosts else [*hosts, *(f"*{digit}" for digit in range(10))]
    door = door_hosts(rules, config)
    return [{"hosts": hosts, **({"notHosts": _policy_hosts(door)} if door else {})}]


def _policy_hosts(hosts: Iterable[str]) -> list[str]:
    # Istio ignores case here.
    return [f"{host}{end}" for host in hosts for end in ("", ":*", ".", ".:*")]


def _header(pattern: str) -> Json:
    return {"name": ":authority", "string_match": {"safe_regex": full_match(pattern)}}


def _near(rules: Rules) -> str:
    """Return a pattern of all hosts that are guarded."""
    if rules.is_strict:
        return any_pattern(host.near_regex for host in rules.hosts)
    return _spellings_of(host.text for host in rules.hosts)


def _spellings_of(hosts: Iterable[str]) -> str:
    return rf"(?i)({'|'.join(re.escape(host) for host in hosts)})\.?(:.*)?"
