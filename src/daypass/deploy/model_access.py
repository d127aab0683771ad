"""What makes a gate's access by model true, and what of it a cluster lacks.

The gate asks whether the caller may use the model that the host or the path names. That decides who
reaches a model only if no tenant can lead its host or path elsewhere, and if there is no other way
to it. Kubeflow's roles decide if they have the right that the gate asks for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from daypass._core.findings import Finding, failure, warning
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.kubernetes.labels import selector
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import KSERVE_GROUP, RBAC_GROUP
from daypass.config import Config
from daypass.config.gate import ISTIO_ROOT
from daypass.deploy.model_pods import EVERYBODY, callers_of
from daypass.identity.inference import LLM_WORKLOAD, MODEL_KINDS, MODEL_LABEL
from daypass.identity.records import RoleKey, Roles, role_of
from daypass.identity.role_risks import CHANGE, allows
from daypass.render.engines import AnyEngine, engines, engines_of
from daypass.render.engines.bypass import ANY, HostOwner, join_names
from daypass.render.engines.model_routes import ModelNames, foreign_routes, is_read
from daypass.render.fronts.gateway_api import HTTP_ROUTE
from daypass.render.fronts.routes import ListedObjects, ObjectQuery, owner_of
from daypass.rules.models import LLM, MODEL_HEADERS
from daypass.rules.patterns import owners

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
_LIMITS = (
    ObjectQuery("security.istio.io", "AuthorizationPolicy"),
    ObjectQuery("networking.k8s.io", "NetworkPolicy"),
)
_ROLES = tuple(ObjectQuery(RBAC_GROUP, kind) for kind in ("Role", "ClusterRole"))
_BINDINGS = tuple(ObjectQuery(RBAC_GROUP, f"{query.kind}Binding") for query in _ROLES)
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


def _authorizing(config: Config) -> list[AnyEngine]:
    """Return the engines of the gates with access by model."""
    return [engine for engine in engines_of(config) if engine.gate.authorize]


def access_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find how access by model can be bypassed; nothing without any."""
    if not (gates := _authorizing(config)):
        return ()
    routes = [query for kind in engines() for query in kind.route_queries]
    served = [query for engine in gates for query in engine.served_queries]
    models = (*_MODELS.values(), _CONFIGS, *_MODEL_PODS, _ACTIVATOR, *_LIMITS)
    return tuple(dict.fromkeys([*routes, *served, *models, *_ROLES, *_BINDINGS]))


def find_access_bypass(listed: ListedObjects, config: Config) -> list[Finding]:
    """Return what makes access by model untrue, by the listed objects of `access_queries`."""
    if not (gates := _authorizing(config)):
        return []
    found, read = list(_sessions(gates)), set[HostOwner]()
    roles = Roles(*map(listed.of, _ROLES))
    models = {resource: _names(listed.of(query)) for resource, query in _MODELS.items()}
    platform = _PLATFORM | {engine.gate.front_namespace for engine in gates}
    for engine in gates:
        served = engine.served(listed)
        rules = [each.rule for each in engine.gate.authorize]
        read |= {one for one in served if is_read(one, rules)}
        of_tenants = [one for one in served if ANY not in one.host or one.namespace not in platform]
        for line in foreign_routes(of_tenants, rules, models):
            found.append(failure("model-routes", line, _REMOVE))
    return [
        *found,
        *_own_routes([*listed.of(_MODELS[LLM]), *listed.of(_CONFIGS)]),
        *_headers(listed.of(HTTP_ROUTE)),
        *_gateways(listed, read, models),
        *_pods(listed, platform),
        *_rights(listed, roles),
        *_missing_rights(listed, roles, gates),
    ]


_REMOVE = (
    "remove it, or name its own model. KServe makes such routes in Standard mode, where it has a"
    " pathTemplate and uses the Gateway API: leave the template out"
)


def _names(documents: Iterable[Object]) -> dict[str, set[str]]:
    found = defaultdict[str, set[str]](set)
    for document in documents:
        found[document["metadata"]["namespace"]].add(name_of(document))
    return found


def _sessions(gates: Iterable[AnyEngine]) -> Iterator[Finding]:
    for engine in gates:
        if engine.passes_sessions:
            yield warning(
                "model-sessions",
                f"{engine.key}.others is login: users of a browser may call every model",
                f"write {engine.key}.others: refuse, or {engine.key}.sessions: unchecked if that"
                " is meant",
            )


def _own_routes(documents: Iterable[Object]) -> Iterator[Finding]:
    """Find LLMInferenceServices, and configs that these name, with routes of their authors."""
    for each in documents:
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


def _headers(routes: Iterable[Object]) -> Iterator[Finding]:
    """Find routes that choose a model by another header than the gates refuse."""
    for route in routes:
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


def _gateways(listed: ListedObjects, read: set[HostOwner], models: ModelNames) -> Iterator[Finding]:
    """Find gateways that lead to models without asking who may call them.

    KServe has made their routes; or Knative or others, if they lead to the Service of a component.
    """
    past = defaultdict[str, set[str]](set)
    routes = {one for kind in engines() for read in kind.route_readers for one in read(listed)}
    for one in routes - read:
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


def _pods(listed: ListedObjects, platform: set[str]) -> Iterator[Finding]:
    """Find who may call the Pods of models without a gateway."""
    if listed.unseen & {*_LIMITS}:
        return
    limits = [listed.of(query) for query in _LIMITS]
    found = defaultdict[tuple[str, str], set[str]](set)
    activated = set[str]()
    for pod in (pod for query in _MODEL_PODS for pod in listed.of(query)):
        own = pod["metadata"]["namespace"]
        callers = callers_of(pod, *limits)
        if _KNATIVE in callers and EVERYBODY not in callers:
            activated.add(own)
        for caller, why in callers.items():
            if caller not in {own, *platform}:
                found[caller, why].add(own)
    for pod in listed.of(_ACTIVATOR) if activated else ():
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


def _rights(listed: ListedObjects, roles: Roles) -> Iterator[Finding]:
    """Find who may write routes for any host, by role: a few lines for hundreds of namespaces."""

    @cache
    def kinds_of(role: RoleKey) -> tuple[str, ...]:
        rules = roles.rules(role) or ()
        return tuple(
            shown
            for resource, shown in _ROUTES.items()
            if any(allows(rule, CHANGE, [resource]) for rule in rules)
        )

    places, everywhere = defaultdict[tuple[str, tuple[str, ...]], set[str]](set), set[str]()
    for binding in (each for query in _BINDINGS for each in listed.of(query)):
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


def _missing_rights(
    listed: ListedObjects, roles: Roles, gates: Iterable[AnyEngine]
) -> Iterator[Finding]:
    """Find rights that the gates ask for and Kubeflow's roles lack."""
    if (rules := roles.rules((None, _VIEW))) is None:
        return
    wanted = {(rule.resource, rule.verb) for each in gates for rule in each.gate.authorize}
    for resource, verb in sorted(wanted):
        plural, _, group = resource.partition(".")
        has_it = any(allows(rule, [verb], [(group, plural)]) for rule in rules)
        if has_it or not listed.serves(_MODELS[resource]):
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
