"""What the gate on Istio is made from: plain values, with everything decided.

How the guarded requests are told from others on the same gateway: by their host, and the door's
by its path.

Every form of a name that could lead to its route counts: in any case, with a port or what stands
for one, with the dot of a fully qualified name. The door on a guarded host is asked with long-lived
tokens, so its prefix is left to it; but no identity header of a client gets there either.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from daypass.config import Config
from daypass.config.gate import Gate
from daypass.render.envoy.matching import all_of, has_header, is_not
from daypass.render.envoy.protobuf_any import Json, full_match
from daypass.render.errors import RenderError
from daypass.render.objects import Object

_USUAL_NAMESPACE = "istio-system"
_USUAL_LABELS = {"istio": "ingressgateway"}
_FRONTS_OF_ISTIO = ("istio", "gateway-api", "ingress")
"""Fronts that Istio's gateway may be."""

_OF_A_LOGIN = ("user", "email", "groups", "preferred-username")
"""What oauth2-proxy says in `x-auth-request-...`, and who skips it must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IstioGate:
    """A gate of the engine istio. `issuer`: the `iss` of short-lived tokens."""

    config: Config
    gate: Gate
    issuer: str

    @classmethod
    def of(cls, config: Config, issuer: str) -> "IstioGate":
        """That of a config, which has one."""
        if config.gate is None:
            raise AssertionError("a config without a gate")
        return cls(config=config, gate=config.gate, issuer=issuer)

    @property
    def namespace(self) -> str:
        """Where the gateway's pods are."""
        return self.gate.front_namespace or _USUAL_NAMESPACE

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the gateway's pods."""
        return dict(self.gate.front_labels or _USUAL_LABELS)

    @property
    def leaves_others(self) -> bool:
        """Whether requests without a token of the cluster are left to a login."""
        return self.gate.others == "login"

    @property
    def door_hosts(self) -> list[str]:
        """Guarded hosts where the door may be on the same gateway."""
        doors = [d.host for d in self.config.domains.values() if d.front in _FRONTS_OF_ISTIO]
        if self.gate.guards_every_host:
            return doors
        return [host for host in self.gate.hosts if host in doors]

    @property
    def is_native(self) -> bool:
        """Whether the gateway itself verifies tokens."""
        return self.gate.check != "review"

    @property
    def is_reviewed(self) -> bool:
        """Whether the authorizer is asked."""
        return self.gate.check != "jwt"

    @property
    def identity_headers(self) -> list[str]:
        """The identity headers in every spelling that a server could take for them.

        `kubeflow_userid` and `kubeflow-userid` are one name to some. With a login those that it
        sets are among them.
        """
        names = [self.gate.headers.user, self.gate.headers.groups]
        if self.leaves_others:
            names += [f"x-auth-request-{name}" for name in _OF_A_LOGIN]
        return [spelling for name in names for spelling in _spellings(name)]


def _spellings(name: str) -> list[str]:
    first, *rest = name.replace("_", "-").split("-")
    if len(rest) > _MOST_DASHES:
        raise RenderError(
            f"the header {name} has more than {_MOST_DASHES} dashes",
            "a client could write each of them as an underscore: name a shorter one",
        )
    spellings = [first]
    for part in rest:
        spellings = [f"{begin}{dash}{part}" for begin in spellings for dash in "-_"]
    return spellings


_MOST_DASHES = 5


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
