"""What makes a gate's access by model true, and what of it a cluster lacks.

The gate asks whether the caller may use the model that the host or the path names. That decides who
reaches a model only if no tenant can lead its host or path elsewhere, and if there is no other way
to it. Of two routes for one host, Istio takes the older one. Kubeflow's roles decide if they have
the right that the gate asks for.

Each check finds nothing unless a gate has `authorize`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache

from daypass._core.findings import Finding, failure, warning
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.kubernetes.labels import selector
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import KSERVE_GROUP, RBAC_GROUP
from daypass._core.text import join_names
from daypass.analysis.gateways import shares_hosts
from daypass.analysis.pods import EVERYBODY, callers_of
from daypass.analysis.routes import ANY, GatewayRoute, every_route, in_common, routes_of
from daypass.analysis.snapshot import (
    AUTHORIZATION_POLICIES,
    HTTP_ROUTES,
    NETWORK_POLICIES,
    ObjectQuery,
    Snapshot,
    owner_of,
)
from daypass.config import ClusterGate, Config, IstioGate
from daypass.config.gate import ISTIO_ROOT
from daypass.identity.grants import LLM_WORKLOAD, MODEL_LABEL
from daypass.identity.roles import CHANGE, MODEL_KINDS, RoleKey, Roles, allows, role_of
from daypass.rules.models import LLM, MODEL_HEADERS, ModelRule
from daypass.rules.patterns import NAME, NAMESPACE, owners

_MODELS = {
    f"{plural}.{KSERVE_GROUP}": ObjectQuery(KSERVE_GROUP, kind)
    for plural, kind in MODEL_KINDS.items()
}
_CONFIGS = ObjectQuery(KSERVE_GROUP, "LLMInferenceServiceConfig")
_MODEL_PODS = (
    ObjectQuery("", "Pod", labels=MODEL_LABEL),
    ObjectQuery("", "Pod", labels=selector(LLM_WORKLOAD)),
)
_KNATIVE = "knative-serving"
_ACTIVATOR = ObjectQuery("", "Pod", _KNATIVE, "app=activator")
_ROLES, _CLUSTER_ROLES = (ObjectQuery(RBAC_GROUP, kind) for kind in ("Role", "ClusterRole"))
_BINDINGS = tuple(ObjectQuery(RBAC_GROUP, f"{kind}Binding") for kind in ("Role", "ClusterRole"))
_ROUTES = {
    ("networking.istio.io", "virtualservices"): "VirtualServices",
    ("networking.istio.io", "gateways"): "Gateways",
    ("gateway.networking.k8s.io", "httproutes"): "HTTPRoutes",
    ("gateway.networking.k8s.io", "grpcroutes"): "GRPCRoutes",
    ("networking.k8s.io", "ingresses"): "Ingresses",
    ("serving.knative.dev", "domainmappings"): "DomainMappings",
    ("networking.internal.knative.dev", "ingresses"): "Ingresses of Knative",
    (KSERVE_GROUP, "llminferenceservices"): "LLMInferenceServices",
    (KSERVE_GROUP, "llminferenceserviceconfigs"): "LLMInferenceServiceConfigs",
}
"""What leads any host or path at a gateway to the Pods of its author."""
_PLATFORM = {ISTIO_ROOT, _KNATIVE, "kubeflow", "kserve"}
"""Namespaces of no tenant, next to those of gateways."""
_PUBLISHERS = "publishers/"
"""How the value of a header begins by which KServe's route chooses an LLMInferenceService
(`config/llmisvcconfig/config-llm-router-route.yaml`)."""
_BOOTSTRAPPING = "kubernetes.io/bootstrapping"
_AGGREGATED = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-view"
_VIEW = "kubeflow-view"
_REMOVE = (
    "remove it, or name its own model. KServe makes such routes in Standard mode, where it has a"
    " pathTemplate and uses the Gateway API: leave the template out"
)
_DOMAINS = ObjectQuery("", "ConfigMap", fields="metadata.name=inferenceservice-config")
_KNATIVE_DOMAINS = ObjectQuery("", "ConfigMap", _KNATIVE, fields="metadata.name=config-domain")


ModelNames = Mapping[str, Mapping[str, Set[str]]]
"""The names of the models that exist, by their resource and namespace."""


def _authorizing(config: Config) -> dict[str, ClusterGate]:
    """Return the gates with access by model, by their keys in the config."""
    gates = config.cluster_gates.items()
    return {f"gates.{name}": gate for name, gate in gates if gate.authorize}


def _platform(config: Config) -> set[str]:
    return _PLATFORM | {gate.gateway_namespace for gate in _authorizing(config).values()}


def _models(snapshot: Snapshot) -> ModelNames:
    found: dict[str, dict[str, set[str]]] = {}
    for resource, query in _MODELS.items():
        names = found.setdefault(resource, defaultdict(set))
        for document in snapshot.of(query):
            names[document["metadata"]["namespace"]].add(name_of(document))
    return found


def find_sessions(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find gates that let browsers' sessions pass to models, if the config does not mean that."""
    for key, gate in _authorizing(config).items():
        if isinstance(gate, IstioGate) and gate.has_login and not gate.login_may_call_models:
            yield warning(
                "model-sessions",
                f"{key}.login is keep: users of a browser may call every model",
                f"write {key}.login: none, or {key}.loginMayCallModels: true if that is meant",
            )


def find_foreign_routes(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find routes whose host or path names a model of another namespace."""
    platform = _platform(config)
    for gate in _authorizing(config).values():
        rules, served = [each.rule for each in gate.authorize], routes_of(snapshot, gate)
        of_tenants = [one for one in served if ANY not in one.host or one.namespace not in platform]
        for line in foreign_routes(of_tenants, rules, _models(snapshot)):
            yield failure("model-routes", line, _REMOVE)


def find_own_routes(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find LLMInferenceServices, and configs that these name, with routes of their authors."""
    if not _authorizing(config):
        return
    for each in [*snapshot.of(_MODELS[LLM]), *snapshot.of(_CONFIGS)]:
        if each["kind"] == _CONFIGS.kind and each["metadata"]["namespace"] in _PLATFORM:
            continue
        route = ((each.get("spec") or {}).get("router") or {}).get("route") or {}
        if http := route.get("http"):
            fields = " and ".join(f"spec.router.route.http.{name}" for name in sorted(http))
            yield warning(
                "model-routes",
                f"{owner_of(each)} has routes of its own: {fields}",
                "leave them out: KServe then writes the route for its own path alone",
            )


def find_other_headers(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find routes that choose a model by another header than the gates refuse."""
    for route in snapshot.of(HTTP_ROUTES) if _authorizing(config) else ():
        rules = route["spec"].get("rules") or ()
        matches = (match for rule in rules for match in rule.get("matches") or ())
        headers = (header for match in matches for header in match.get("headers") or ())
        named = {each["name"] for each in headers if each["value"].startswith(_PUBLISHERS)}
        if others := sorted(name for name in named if name.lower() not in MODEL_HEADERS):
            yield failure(
                "model-routes",
                f"{owner_of(route)} chooses a model by the header {join_names(others)}, which no"
                " gate refuses",
                "leave modelBasedRoutingHeaderName out of KServe's ConfigMap"
                " inferenceservice-config",
            )


def find_other_gateways(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find gateways that lead to models without asking who may call them.

    KServe has made their routes; or Knative or others, if they lead to the Service of a component.
    """
    if not (gates := _authorizing(config)):
        return
    read = {
        one
        for gate in gates.values()
        for one in routes_of(snapshot, gate)
        if is_read(one, [each.rule for each in gate.authorize])
    }
    past, models = defaultdict[str, set[str]](set), _models(snapshot)
    for one in every_route(snapshot) - read:
        if one.is_models:
            past[one.gateway].add(one.namespace)
        for name, _, own in (service.rpartition(".") for service in one.leads_to):
            if any(owners(name, known.get(own, set())) for known in models.values()):
                past[one.gateway].add(own)
    for gateway, namespaces in sorted(past.items()):
        yield warning(
            "model-gateways",
            f"{gateway} leads to models of {join_names(sorted(namespaces))}, and no rule of"
            " `authorize` is for their hosts and paths there",
            "add a rule for these, or a gate for this gateway",
        )


def find_other_domains(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find that KServe and Knative name models in other domains than the rules of all gates."""
    if not (gates := _authorizing(config)):
        return
    domains = set[str]()
    for document in snapshot.of(_DOMAINS):
        ingress = json.loads((document.get("data") or {}).get("ingress") or "{}")
        domains |= {*filter(None, [ingress.get("ingressDomain")])}
    for document in snapshot.of(_KNATIVE_DOMAINS):
        domains |= {each for each in document.get("data") or () if not each.startswith("_")}
    hosts = [each.rule.host.text for gate in gates.values() for each in gate.authorize]
    if domains and not any(f".{host}".endswith(f".{it}") for host in hosts for it in domains):
        yield warning(
            "model-domain",
            f"KServe names models in {join_names(sorted(domains))}, and no rule of `authorize` is"
            " for hosts there",
            f"write such hosts into {join_names(sorted(f'{key}.authorize' for key in gates))}, or"
            " change KServe's ingressDomain",
        )


def find_open_pods(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find who may call the Pods of models without a gateway."""
    if not _authorizing(config):
        return
    platform = _platform(config)
    limits = snapshot.of(AUTHORIZATION_POLICIES), snapshot.of(NETWORK_POLICIES)
    found = defaultdict[tuple[str, str], set[str]](set)
    activated = set[str]()
    for pod in (pod for query in _MODEL_PODS for pod in snapshot.of(query)):
        own = pod["metadata"]["namespace"]
        callers = callers_of(pod, *limits)
        if _KNATIVE in callers and EVERYBODY not in callers:
            activated.add(own)
        for caller, why in callers.items():
            if caller not in {own, *platform}:
                found[caller, why].add(own)
    for pod in snapshot.of(_ACTIVATOR) if activated else ():
        for caller, why in callers_of(pod, *limits).items():
            if caller not in platform:
                found[caller, f"Knative's activator forwards them: {why}"] |= activated
    model = ("--model", Placeholder("NAMESPACE/MODEL"), "--gate", Placeholder("GATE"))
    name, namespace = Placeholder("NAME"), Placeholder("NAMESPACE")
    authorize = command("identity", "authorize", name, "-n", namespace, *model)
    for (caller, why), namespaces in sorted(found.items()):
        who = "every Pod" if caller == EVERYBODY else f"Pods of {caller}"
        yield warning(
            "model-pods",
            f"{who} may call models of {join_names(sorted(namespaces))} past the gate: {why}",
            "let only the gateway call them, by a NetworkPolicy, or by AuthorizationPolicies that"
            f" name its principal, as this makes them: {authorize}",
        )


def find_route_rights(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find who may write routes for any host, by role: a few lines for hundreds of namespaces."""
    if not _authorizing(config):
        return
    roles = Roles(snapshot.of(_ROLES), snapshot.of(_CLUSTER_ROLES))

    @cache
    def kinds_of(role: RoleKey) -> tuple[str, ...]:
        rules = roles.rules(role) or ()
        return tuple(
            shown
            for resource, shown in _ROUTES.items()
            if any(allows(rule, CHANGE, [resource]) for rule in rules)
        )

    places, everywhere = defaultdict[tuple[str, tuple[str, ...]], set[str]](set), set[str]()
    for binding in (each for query in _BINDINGS for each in snapshot.of(query)):
        metadata, role = binding["metadata"], role_of(binding)
        kinds = kinds_of(role)
        subjects = set(filter(None, map(_subject, binding.get("subjects") or ())))
        if not kinds or not subjects or _BOOTSTRAPPING in (metadata.get("labels") or {}):
            continue
        if namespace := metadata.get("namespace"):
            shown = "Roles" if role[0] else f"ClusterRole {role[1]}"
            places[shown, kinds].add(namespace)
        else:
            everywhere |= subjects
    lines = [
        f"{role} in {join_names(sorted(namespaces))}: {join_names(kinds, most=len(kinds))}"
        for (role, kinds), namespaces in sorted(places.items())
    ]
    accounts = {each for each in everywhere if each.startswith("ServiceAccount ")}
    for named in filter(None, (everywhere - accounts, accounts)):
        lines.append(f"{join_names(sorted(named))} in every namespace")
    if places or everywhere - accounts:
        fact = "these may write routes for the host or path of any model:"
        hint = "let administrators alone write them, or let an admission policy check their hosts"
        yield warning("route-rights", "\n".join([fact, *lines]), hint)


def _subject(subject: Object) -> str:
    """Return a subject of a binding in words; empty for the control plane."""
    kind, name, namespace = subject["kind"], subject["name"], subject.get("namespace")
    if name == "system:masters" or (kind == "ServiceAccount" and namespace == "kube-system"):
        return ""
    return f"{kind} {namespace}/{name}" if kind == "ServiceAccount" else f"{kind} {name}"


def find_missing_rights(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find rights that the gates ask for and Kubeflow's roles lack."""
    if not (gates := _authorizing(config)):
        return
    roles = Roles([], snapshot.of(_CLUSTER_ROLES))
    if (rules := roles.rules((None, _VIEW))) is None:
        return
    wanted = {(rule.resource, rule.verb) for gate in gates.values() for rule in gate.authorize}
    for resource, verb in sorted(wanted):
        plural, _, group = resource.partition(".")
        if any(allows(rule, [verb], [(group, plural)]) for rule in rules):
            continue
        name = f"daypass-{verb}-{plural}"
        create = kubectl("create", "clusterrole", name, "--verb", verb, "--resource", resource)
        aggregate = kubectl("label", "clusterrole", name, f"{_AGGREGATED}=true")
        yield warning(
            "model-roles",
            f"ClusterRole {_VIEW} has no right to {verb} {resource}: users with that role alone may"
            " call none of these models",
            f"add that right to it: {create} && {aggregate}",
        )


def foreign_routes(
    served: Iterable[GatewayRoute], rules: Sequence[ModelRule], models: ModelNames
) -> Iterator[str]:
    """Yield a line for each route whose host or path names a model of another namespace."""
    found = dict[tuple[str, str], set[str]]()
    for one in served:
        for rule in rules:
            known = models.get(rule.resource, {})
            if named := set(_named(rule, one, known)):
                others = found.setdefault((one.owner, one.gateway), set())
                others |= set(_of_others(named, one.namespace, known))
    for (owner, gateway), others in sorted(found.items()):
        if others:
            yield f"{owner} takes requests for {join_names(sorted(others))} on {gateway}"


def is_read(one: GatewayRoute, rules: Iterable[ModelRule]) -> bool:
    """Return whether the gate reads a model from every request to a host, or to its paths there.

    It reads a path on every host alike. What is only near is refused, on the rule's own host.
    """
    for rule in rules:
        is_own = rule.host.matches(one.host)
        if rule.path is None and is_own:
            return True
        if rule.path and all(map(rule.path.is_near if is_own else rule.path.matches, one.paths)):
            return True
    return False


def _named(
    rule: ModelRule, one: GatewayRoute, known: Mapping[str, Set[str]]
) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of each model that a route's host or a path of it may mean."""
    if not shares_hosts(one.host, rule.host):
        return
    if rule.path is None:
        yield from rule.host.names(one.host.replace(ANY, "any"))
        if one.host.startswith("*.") and one.paths & {"", "/"}:
            hosts = _written(rule.host.text, known)
            yield from (model for model, host in hosts if in_common(one.host, host))
        return
    for path in one.paths - {"/"}:
        yield from rule.path.names(path) or (
            model for model, text in _written(rule.path.text, known) if text.startswith(path)
        )


def _written(form: str, known: Mapping[str, Set[str]]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield namespace and name of each model, and its host or path of a form."""
    for namespace, names in known.items():
        for name in names:
            yield (namespace, name), form.replace(NAMESPACE, namespace).replace(NAME, name)


def _of_others(
    named: Set[tuple[str, str]], own: str, known: Mapping[str, Set[str]]
) -> Iterator[str]:
    """Yield those of other namespaces that have models. Where a model of the route's own namespace
    may be meant, too, only those that exist.
    """
    may_be_own = any(namespace == own for namespace, _ in named)
    for namespace, name in named:
        there = known.get(namespace, frozenset())
        if namespace != own and (owners(name, there) if may_be_own else there):
            yield f"{namespace}/{name}"
