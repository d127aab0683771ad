"""Browser logins at Istio's gateways that have gates or doors, and what they lack next to these.

A login is a CUSTOM AuthorizationPolicy, or an EnvoyFilter with `ext_authz`. It is asked after the
gate's filters, so it needs a condition that leaves out what the gate has accepted, and the door's
route has to pass it: docs/how-to/gate-with-a-login.md and ingresses/istio.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from daypass._core.findings import Finding, failure, warning
from daypass._core.hints import docs_page
from daypass._core.kubernetes.labels import MANAGED_BY, MANAGER
from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.text import join_names
from daypass.analysis.pods import applies
from daypass.analysis.snapshot import ISTIO_GATEWAYS, ObjectQuery, Snapshot, owner_of, path_of
from daypass.config import Config, IstioGate
from daypass.identity.roles import selects
from daypass.render.envoy.token_rules import DECISION
from daypass.render.envoy.xds import mark_entry
from daypass.render.fronts import IstioFront, fronts_of
from daypass.rules.patterns import EVERY_HOST, HostPattern

_KINDS = tuple(
    ObjectQuery(group, kind, labels=f"{MANAGED_BY}!={MANAGER}")
    for group, kind in (
        ("security.istio.io", "AuthorizationPolicy"),
        ("security.istio.io", "RequestAuthentication"),
        ("networking.istio.io", "EnvoyFilter"),
    )
)
_LOGIN, _TOKENS = "envoy.filters.http.ext_authz", "envoy.filters.http.jwt_authn"
_MARK, _ACCEPTED = mark_entry(DECISION)
_NOT_ACCEPTED = {"key": f"experimental.envoy.filters.http.rbac[{_MARK}]", "notValues": [_ACCEPTED]}


class _Guard(NamedTuple):
    """What may refuse requests: an object, its Envoy filter, and which requests it looks at, as
    rules of an AuthorizationPolicy.
    """

    owner: str
    filter: str
    rules: Sequence[Object]

    def asks(self, host: str, path: str = "", *, is_accepted: bool = False) -> bool:
        """Return whether it may look at a request; "" is any host or path.

        `is_accepted`: a gate has accepted it. Other conditions and fields count as met.
        """
        return any(
            _fits(operation.get("operation") or {}, host, path)
            for rule in self.rules
            if not (is_accepted and _NOT_ACCEPTED in (rule.get("when") or ()))
            for operation in rule.get("to") or [{}]
        )


def find_logins(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Yield logins without their condition, and doors whose requests something else refuses."""
    for key, gate in _gates(config).items():
        guards = [*_guards(_applied(snapshot, gate.gateway_namespace, gate.gateway_labels))]
        hosts = ["" if h == EVERY_HOST else HostPattern.parse(h).example("x") for h in gate.hosts]
        if asked := [g for g in guards if any(g.asks(host, is_accepted=True) for host in hosts)]:
            yield failure(
                "login",
                f"{_names(asked)}: a login is asked about requests that {key} has accepted,"
                " without their token",
                f"add the condition of {docs_page('how-to/gate-with-a-login.md')}",
            )
        logins = [guard for guard in guards if guard.filter != _TOKENS]
        if gate.guards_every_host and not gate.has_login and logins:
            fact = f"{key}.login is none, so the users of the login {_names(logins)} are refused"
            yield warning("login", fact, f"write {key}.login: keep")
    gateways = {path_of(each): each.get("spec") or {} for each in snapshot.of(ISTIO_GATEWAYS)}
    for front in _doors(config):
        labels = gateways.get(front.domain.gateway or "", {}).get("selector")
        applied = _applied(snapshot, front.pods_namespace, labels or front.domain.front_labels)
        routes = [it for each in applied for it in _patches(each, "HTTP_ROUTE", front.object_name)]
        passed = {name for route in routes for name in route.get("typed_per_filter_config") or ()}
        host, path = front.domain.host, front.config.prefix + PROBE_PATH
        guards = [guard for guard in _guards(applied) if guard.filter not in passed]
        if refusing := [guard for guard in guards if guard.asks(host, path)]:
            yield failure(
                "login",
                f"{_names(refusing)}: requests for the door at {host} are refused",
                f"take {front.object_name} past it: {docs_page('how-to/ingresses/istio.md')}",
            )


def _gates(config: Config) -> dict[str, IstioGate]:
    """Return the gates at such gateways, by their keys in the config."""
    gates = config.cluster_gates.items()
    return {f"gates.{name}": it for name, it in gates if isinstance(it, IstioGate)}


def _doors(config: Config) -> list[IstioFront]:
    return [front for front in fronts_of(config) if isinstance(front, IstioFront)]


def _pods(namespace: str) -> ObjectQuery:
    return ObjectQuery("", "Pod", namespace, metadata_only=True)


def _applied(snapshot: Snapshot, namespace: str, labels: Mapping[str, str]) -> list[Object]:
    """Return what applies to the Pods of a gateway."""
    pods = [
        each for each in snapshot.of(_pods(namespace)) if selects({"matchLabels": labels}, each)
    ]
    found = (document for kind in _KINDS for document in snapshot.of(kind))
    return [document for document in found if any(applies(document, pod) for pod in pods)]


def _guards(applied: Iterable[Object]) -> Iterator[_Guard]:
    for document in applied:
        spec, owner = document.get("spec") or {}, owner_of(document)
        if spec.get("action") == "CUSTOM":
            yield _Guard(owner, _LOGIN, spec.get("rules") or ())
        if spec.get("jwtRules"):  # no token is left in what a gate has accepted
            yield _Guard(owner, _TOKENS, [{"when": [_NOT_ACCEPTED]}])
        for added in _patches(document, "HTTP_FILTER"):
            config = added.get("typed_config") or {}
            if str(config.get("@type")).endswith("ext_authz.v3.ExtAuthz"):
                path = (config.get("filter_enabled_metadata") or {}).get("path") or ()
                rule = {"when": [_NOT_ACCEPTED]} if {"key": _MARK} in path else {}
                yield _Guard(owner, str(added.get("name")), [rule])


def _patches(document: Object, apply_to: str, route: str = "") -> Iterator[Object]:
    """Yield what the patches of an EnvoyFilter add. `route`: of those for this route alone."""
    for each in (document.get("spec") or {}).get("configPatches") or ():
        routes = (each.get("match") or {}).get("routeConfiguration") or {}
        named = ((routes.get("vhost") or {}).get("route") or {}).get("name", route)
        if each.get("applyTo") == apply_to and named == route:
            yield (each.get("patch") or {}).get("value") or {}


def _fits(operation: Object, host: str, path: str) -> bool:
    return all(
        any(fnmatchcase(text, each) for each in operation.get(name) or "*")
        and not any(fnmatchcase(text, each) for each in operation.get(but) or ())
        for text, name, but in ((host, "hosts", "notHosts"), (path, "paths", "notPaths"))
        if text
    )


def _names(guards: Iterable[_Guard]) -> str:
    return join_names(each.owner for each in guards)
