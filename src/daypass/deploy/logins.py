"""Browser logins at Istio's gateways that have gates or doors, and what they lack next to these.

A login is a CUSTOM AuthorizationPolicy, or an EnvoyFilter with `ext_authz`. It is asked after the
gate's filters, so it needs a condition that leaves out what the gate has accepted, and the door's
route has to pass it: docs/how-to/gate-with-a-login.md and ingresses/istio.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple

from daypass._core.findings import Finding, failure, warning
from daypass._core.installation import docs_page
from daypass._core.labels import MANAGED_BY, MANAGER
from daypass._core.objects import Object
from daypass._core.token_bounds import PROBE_PATH
from daypass.config import Config, IstioGate
from daypass.config.gate import ISTIO_ROOT
from daypass.render.engines import engines_of
from daypass.render.engines.bypass import join_names
from daypass.render.engines.istio.other_names import Labels, Pods
from daypass.render.envoy.matching import mark_entry
from daypass.render.envoy.token_rules import DECISION
from daypass.render.fronts import fronts_of
from daypass.render.fronts.istio import ISTIO_GATEWAY, IstioFront
from daypass.render.fronts.routes import ListedObjects, ObjectQuery, owner_of, path_of
from daypass.rules.patterns import EVERY_HOST, HostPattern

_POLICY = ObjectQuery("security.istio.io", "AuthorizationPolicy")
_TOKENS = ObjectQuery("security.istio.io", "RequestAuthentication")
_FILTER = ObjectQuery("networking.istio.io", "EnvoyFilter", labels=f"{MANAGED_BY}!={MANAGER}")
_POD = ObjectQuery("", "Pod", metadata_only=True)
_MARK, _ACCEPTED = mark_entry(DECISION)
_CONDITION = {"key": f"experimental.envoy.filters.http.rbac[{_MARK}]", "notValues": [_ACCEPTED]}
_AnyApplied = Callable[[ObjectQuery], Iterator[Object]]
"""Returns the objects of a kind that apply to the Pods of one gateway."""


class _Guard(NamedTuple):
    """What may refuse requests at a gateway: an object, its Envoy filter, and which requests it
    looks at, as rules of an AuthorizationPolicy.
    """

    owner: str
    filter: str
    rules: Sequence[Object]


def login_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find logins; nothing without a gate or a door at such a gateway."""
    gates = [gate for gate in config.cluster_gates.values() if isinstance(gate, IstioGate)]
    doors = [front for front in fronts_of(config) if isinstance(front, IstioFront)]
    places = {each.front_namespace for each in gates} | {each.pods_namespace for each in doors}
    kinds = (_POLICY, _TOKENS, _FILTER, _POD)
    found = [kind._replace(namespace=at) for at in sorted({*places, ISTIO_ROOT}) for kind in kinds]
    return [ISTIO_GATEWAY, *found] if places else []


def find_logins(listed: ListedObjects, config: Config) -> Iterator[Finding]:
    """Yield logins without their condition, and doors whose requests something else refuses."""
    for engine in engines_of(config):
        gate = engine.gate
        if isinstance(gate, IstioGate):
            at = partial(_applied, listed, gate.front_namespace, gate.front_labels)
            yield from _at_gate(engine.key, gate, [*_logins(at)])
    gateways = {path_of(each): each.get("spec") or {} for each in listed.of(ISTIO_GATEWAY)}
    for front in fronts_of(config):
        if isinstance(front, IstioFront):
            named = gateways.get(front.domain.gateway or "", {}).get("selector")
            selector = named or front.domain.front_labels
            yield from _at_door(front, partial(_applied, listed, front.pods_namespace, selector))


def _at_gate(key: str, gate: IstioGate, logins: Sequence[_Guard]) -> Iterator[Finding]:
    hosts = [h if h == EVERY_HOST else HostPattern.parse(h).example("x") for h in gate.hosts]
    asking = [
        login
        for login in logins
        for rule in login.rules
        if _CONDITION not in (rule.get("when") or ())
        and any(h == EVERY_HOST or _may_match(rule, hosts=h) for h in hosts)
    ]
    if asking:
        yield failure(
            "login",
            f"{_names(asking)}: a login is asked about requests that {key} has accepted, without"
            " their token",
            f"add the condition of {docs_page('how-to/gate-with-a-login.md')}",
        )
    if gate.guards_every_host and not gate.has_login and logins:
        fact = f"{key}.others is refuse, so the users of the login {_names(logins)} are refused"
        yield warning("login", fact, f"write {key}.others: login")


def _at_door(front: IstioFront, at: _AnyApplied) -> Iterator[Finding]:
    """Find what refuses requests for a door, unless its route passes that."""
    guards = [_Guard(owner_of(each), "envoy.filters.http.jwt_authn", [{}]) for each in at(_TOKENS)]
    passed = {
        name
        for each in at(_FILTER)
        for patch in _patches(each, "HTTP_ROUTE", front.object_name)
        for name in patch.get("typed_per_filter_config") or ()
    }
    path = front.config.prefix + PROBE_PATH
    matches = partial(_may_match, hosts=front.domain.host, paths=path)
    guards = [each for each in [*_logins(at), *guards] if any(map(matches, each.rules))]
    if refusing := [each for each in guards if each.filter not in passed]:
        yield failure(
            "login",
            f"{_names(refusing)}: requests for the door at {front.domain.host} are refused",
            f"take {front.object_name} past it: {docs_page('how-to/ingresses/istio.md')}",
        )


def _applied(
    listed: ListedObjects, namespace: str, selector: Labels, kind: ObjectQuery
) -> Iterator[Object]:
    labels = (
        e["metadata"].get("labels") or {} for e in listed.of(_POD._replace(namespace=namespace))
    )
    seen = [each for each in labels if selector.items() <= each.items()]
    pods = Pods(labels=seen or [selector], complete=bool(seen))
    for place in sorted({namespace, ISTIO_ROOT}):
        for document in listed.of(kind._replace(namespace=place)):
            spec = document.get("spec") or {}
            selected = (spec.get("selector") or {}).get("matchLabels")
            selected = selected or (spec.get("workloadSelector") or {}).get("labels") or {}
            if pods.selected_by(selected):
                yield document


def _logins(at: _AnyApplied) -> Iterator[_Guard]:
    for policy in at(_POLICY):
        spec = policy.get("spec") or {}
        if spec.get("action") == "CUSTOM":
            rules = spec.get("rules") or ()
            yield _Guard(owner_of(policy), "envoy.filters.http.ext_authz", rules)
    for document in at(_FILTER):
        for added in _patches(document, "HTTP_FILTER"):
            config = added.get("typed_config") or {}
            if str(config.get("@type")).endswith("ext_authz.v3.ExtAuthz"):
                path = (config.get("filter_enabled_metadata") or {}).get("path") or ()
                rule = {"when": [_CONDITION]} if {"key": _MARK} in path else {}
                yield _Guard(owner_of(document), str(added.get("name")), [rule])


def _patches(document: Object, apply_to: str, route: str = "") -> Iterator[Object]:
    """Yield what the patches of an EnvoyFilter add. `route`: of those for this route alone."""
    for each in (document.get("spec") or {}).get("configPatches") or ():
        routes = (each.get("match") or {}).get("routeConfiguration") or {}
        named = ((routes.get("vhost") or {}).get("route") or {}).get("name", route)
        if each.get("applyTo") == apply_to and named == route:
            yield (each.get("patch") or {}).get("value") or {}


def _may_match(rule: Object, **request: str) -> bool:
    """Return whether a rule may match a request: its operations do, and the rest counts as met."""

    def fits(operation: Object, name: str, value: str) -> bool:
        wanted, others = operation.get(name), operation.get(f"not{name.title()}") or ()
        matches = partial(fnmatchcase, value)
        return (not wanted or any(map(matches, wanted))) and not any(map(matches, others))

    operations = [each.get("operation") or {} for each in rule.get("to") or [{}]]
    return any(all(fits(it, *each) for each in request.items()) for it in operations)


def _names(guards: Iterable[_Guard]) -> str:
    return join_names(dict.fromkeys(each.owner for each in guards))
