"""What the gate on Istio depends on, and which requests at the gateway it guards.

Requests are selected by host, and the door's by path. Every form of a name that could lead to its
route counts: in any case, with anything in place of a port, with the dot of a fully qualified name.
The door on a guarded host receives long-lived tokens, so its prefix is exempt; clients' identity
headers are removed there, too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from daypass._core.objects import Object
from daypass.config import Config
from daypass.config.gate import Gate
from daypass.render import RenderError
from daypass.render.envoy.matching import all_of, has_header, is_not
from daypass.render.envoy.protobuf_any import Json, full_match
from daypass.render.names import gateway_namespace
from daypass.rules.decision import Rules
from daypass.rules.reasons import REASON_HEADER

_USUAL_LABELS = {"istio": "ingressgateway"}
_FRONTS_OF_ISTIO = ("istio", "gateway-api", "ingress")
"""Fronts that Istio's gateway may implement."""

_OF_A_LOGIN = ("user", "email", "groups", "preferred-username")
"""oauth2-proxy's identity headers, `x-auth-request-...`: no client may send them itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IstioGate:
    """A gate of the engine istio. `issuer`: the `iss` of short-lived tokens."""

    config: Config
    gate: Gate
    issuer: str

    @classmethod
    def of(cls, config: Config, issuer: str) -> "IstioGate":
        """Return the gate of a config that has one."""
        if config.gate is None:
            raise AssertionError("a config without a gate")
        return cls(config=config, gate=config.gate, issuer=issuer)

    @property
    def rules(self) -> Rules:
        """What the gate requires of a token."""
        return self.config.rules_of(self.gate, self.issuer)

    @property
    def namespace(self) -> str:
        """Namespace of the gateway's pods."""
        return gateway_namespace(self.gate)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the gateway's pods."""
        return dict(self.gate.front_labels or _USUAL_LABELS)

    @property
    def leaves_others(self) -> bool:
        """Whether requests without a token of the cluster go on to a login."""
        return self.gate.others == "login"

    @property
    def door_hosts(self) -> list[str]:
        """Guarded hosts that may have the door on the same gateway."""
        doors = [d.host for d in self.config.domains.values() if d.front in _FRONTS_OF_ISTIO]
        if self.gate.guards_every_host:
            return doors
        return [host for host in self.gate.hosts if host in doors]

    @property
    def own_headers(self) -> list[str]:
        """The headers that no client may send, in every spelling that a server may accept.

        `kubeflow_userid` and `kubeflow-userid` are the same name to some servers.
        """
        names = [self.gate.headers.user, self.gate.headers.groups, REASON_HEADER]
        if self.leaves_others:
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


def is_on_guarded_host(settings: IstioGate) -> Json:
    """Return a predicate: the host is guarded, whatever the path."""
    if settings.gate.guards_every_host:
        return has_header(":method", ".+")  # every request has one
    return has_header(":authority", _pattern(settings.gate.hosts))


def is_guarded(settings: IstioGate) -> Json:
    """Return a predicate: the request is guarded."""
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
    """Return RouteMatches of the door's requests."""
    if not settings.door_hosts:
        return []
    header = _header(settings.door_hosts)
    prefix = settings.config.prefix
    return [{"path": prefix, "headers": [header]}, {"prefix": f"{prefix}/", "headers": [header]}]


def guarded_headers(settings: IstioGate) -> list[Json]:
    """Return HeaderMatchers, all of which match requests to guarded hosts."""
    return [] if settings.gate.guards_every_host else [_header(settings.gate.hosts)]


def policy_operations(settings: IstioGate) -> list[Object]:
    """Return the guarded requests as operations of an AuthorizationPolicy."""
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
    # Istio ignores case here.
    return [f"{host}{end}" for host in hosts for end in ("", ":*", ".", ".:*")]


def _header(hosts: Iterable[str]) -> Json:
    return {"name": ":authority", "string_match": {"safe_regex": full_match(_pattern(hosts))}}


def _pattern(hosts: Iterable[str]) -> str:
    return rf"(?i)({'|'.join(re.escape(host) for host in hosts)})\.?(:.*)?"
