"""The HTTP filters that the gate adds at Istio's gateway, and which requests they guard there.

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
from daypass.render.envoy.authorizer_filters import asking_filter, identified_filter
from daypass.render.envoy.published import published_filters
from daypass.render.envoy.token_rules import (
    DECISION,
    any_pattern,
    authentication,
    deciding_filters,
    is_host,
)
from daypass.render.envoy.xds import (
    GROUPS,
    JWT_AUTHENTICATION,
    USER,
    Json,
    all_of,
    discovered_filter,
    extension,
    full_match,
    has_header,
    is_marked,
    is_not,
    only_where,
    set_filter_state,
    set_header,
    state_text,
)
from daypass.render.names import GATE, GATE_KEYS, SERVICE_PORT, authorizer_server
from daypass.rules.decision import Rules
from daypass.rules.patterns import literal_end
from daypass.rules.published import CLUSTER_SHARDS
from daypass.rules.reasons import REASON_HEADER

_CLUSTER_DOMAIN = "cluster.local"
"""Istio's default for the domain of the cluster's Services."""

_TOKEN_STATE = "daypass.token"  # noqa: S105 - a name
_ISTIOD: Json = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}
"""A starting gateway waits that long for what is published. Without it, the gate refuses."""


def keys_config(gate: IstioGate, config: Config, rules: Rules, keys: str | None) -> Json:
    """Return the config of the JWT filter. `keys`: the text of the API server's JSON Web Key Set;
    None before it is published.
    """
    # The header is removed once it is verified, or once the authorizer has seen it: the gateway's
    # own RequestAuthentications would reject a token of an unknown issuer.
    return authentication(
        rules,
        keys,
        keeps_header=gate.asks_authorizer,
        guarded=guarded_headers(rules),
        exempt=door_matches(rules, config),
    )


def first_filters(name: str, gate: IstioGate, config: Config, rules: Rules) -> list[Json]:
    """Return the filters before all others of the gateway. `name`: the gate's."""
    # Each applies its default until istiod configures it.
    no_keys = keys_config(gate, config, rules, None)
    decides = deciding_filters(
        rules,
        verified=discovered_filter(GATE_KEYS, _ISTIOD, JWT_AUTHENTICATION, default_config=no_keys),
        published=published_filters(lambda _: _ISTIOD, shards=CLUSTER_SHARDS),
        elsewhere=is_not(is_guarded(rules, config)),
        misnamed=is_misnamed(rules),
        has_login=gate.has_login,
    )
    forget = _mutation(f"{GATE}-forget", [{"remove": name} for name in own_headers(gate)])
    # For the services behind: a filter removes it.
    keep = set_filter_state(f"{GATE}-token", {_TOKEN_STATE: "%REQ(authorization)%"})
    return [
        only_where(is_on_guarded_host(rules), forget),
        *([only_where(is_guarded(rules, config), keep)] if gate.forward_token else []),
        *decides,
        *(_review(name, gate, config) if gate.asks_authorizer else []),
    ]


def last_filter(gate: IstioGate) -> Json:
    """Return the filter right before the router, after which nothing changes identity headers."""
    set_headers = {gate.headers.user: USER, gate.headers.groups: GROUPS}
    if gate.forward_token:
        set_headers["authorization"] = state_text(_TOKEN_STATE)
    appended = [{"append": set_header(name, value)} for name, value in set_headers.items()]
    return only_where(is_marked(DECISION), _mutation(f"{GATE}-identity", appended))


def _review(name: str, gate: IstioGate, config: Config) -> list[Json]:
    """Ask the authorizer about accepted tokens, require its user, then remove the token."""
    headers = (gate.headers.user, gate.headers.groups)
    host = authorizer_server(config.door.namespace).host
    asked = asking_filter(
        name,
        headers,
        name=f"{GATE}-authorizer",
        # Istio's name for a Service of the cluster.
        cluster=f"outbound|{SERVICE_PORT}||{host}.{_CLUSTER_DOMAIN}",
        uri=f"https://{host}",
    )
    stripped = _mutation(f"{GATE}-strip", [{"remove": "authorization"}])
    named = identified_filter(gate.headers.user)
    return [only_where(is_marked(DECISION), each) for each in (asked, named, stripped)]


def _mutation(name: str, mutations: list[Json]) -> Json:
    return extension(
        name,
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )


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
