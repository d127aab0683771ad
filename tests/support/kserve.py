"""Models as KServe has them, and the routes that it and Knative write for them.

Transcribed from KServe v0.20.0 (github.com/kserve/kserve): `ingress_reconciler.go`,
`kube_ingress_reconciler.go`, `httproute_reconciler.go`, `domain.go` and `path.go` in
`pkg/controller/v1beta1/inferenceservice/reconcilers/ingress`, and
`config/llmisvcconfig/config-llm-router-route.yaml`. `knative_service_routes` is from net-istio
(github.com/knative-extensions/net-istio, `pkg/reconciler/ingress/resources/virtual_service.go`) and
Knative Serving v0.48. `make test-serving-kserve` compares the first ones with what the real
controllers write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from daypass._core.kubernetes.objects import Object
from support.objects import make

SERVING = "serving.kserve.io"
_NETWORKING = "networking.istio.io/v1"
_GATEWAY = "gateway.networking.k8s.io"
_PATH_TEMPLATE = "/serving/{namespace}/{name}"
"""Kubeflow's `pathTemplate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The section `ingress` of KServe's ConfigMap `inferenceservice-config`.

    `paths`: whether it has Kubeflow's `pathTemplate`. `gateway` and `local_gateway` are Istio's,
    `gateway_api` is a Gateway of the Gateway API; each is NAMESPACE/NAME.
    """

    domain: str = "example.com"
    gateway: str = "kubeflow/kubeflow-gateway"
    local_gateway: str = "knative-serving/knative-local-gateway"
    local_service: str = "knative-local-gateway.istio-system.svc.cluster.local"
    gateway_api: str = "kserve/kserve-ingress-gateway"
    ingress_class: str = "istio"
    paths: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An InferenceService. `local`: it is labelled for callers inside the cluster alone."""

    name: str
    namespace: str
    transformer: bool = False
    local: bool = False
    standard: bool = False
    """Whether its deployment mode is Standard ("raw"), not Knative."""

    @property
    def predictor(self) -> str:
        return f"{self.name}-predictor"

    @property
    def components(self) -> list[str]:
        """The names of its predictor and, if it has one, its transformer."""
        return [self.predictor, *([self.entry] if self.transformer else [])]

    @property
    def entry(self) -> str:
        """The component that requests arrive at."""
        return f"{self.name}-{'transformer' if self.transformer else 'predictor'}"

    @property
    def path(self) -> str:
        return _PATH_TEMPLATE.format(namespace=self.namespace, name=self.name)

    def host(self, component: str, domain: str) -> str:
        """`component`: the name of the model or of a component of it."""
        between = "-" if self.standard else "."
        return f"{component}{between}{self.namespace}.{domain}"

    def inside(self, component: str) -> str:
        return f"{component}.{self.namespace}.svc.cluster.local"


def inference_service(model: Model) -> Object:
    """The InferenceService itself, with containers that nothing runs."""
    container = {"name": "kserve-container", "image": "registry.example.com/model:1"}
    components = ["predictor", *(["transformer"] if model.transformer else [])]
    spec = {component: {"containers": [container]} for component in components}
    document = make(
        f"{SERVING}/v1beta1", "InferenceService", model.name, model.namespace, spec=spec
    )
    mode = "Standard" if model.standard else "Knative"
    document["metadata"]["annotations"] = {f"{SERVING}/deploymentMode": mode}
    if model.local:
        owner = "kserve.io" if model.standard else "knative.dev"
        document["metadata"]["labels"] = {f"networking.{owner}/visibility": "cluster-local"}
    return document


def virtual_service(model: Model, routing: Routing) -> Object:
    """The VirtualService that leads to a model's Knative services (`createIngress`)."""
    outside = model.host(model.name, routing.domain)
    inside = model.inside(model.name)
    entry = _to_entry(model, routing)
    http = [{"match": _matches(model, routing), **entry}]
    hosts = [inside] if model.local else [inside, outside]
    gateways = [routing.local_gateway, "mesh"]
    if not model.local:
        gateways.append(routing.gateway)
    if routing.paths:
        hosts.append(routing.domain)
        at = {"authority": _exactly(routing.domain), "gateways": [routing.gateway]}
        uris = [{"prefix": f"{model.path}/"}, {"exact": model.path}]
        http.append(
            {"match": [{"uri": uri, **at} for uri in uris], "rewrite": {"uri": "/"}, **entry}
        )
    spec = {"hosts": hosts, "gateways": gateways, "http": http}
    return make(_NETWORKING, "VirtualService", model.name, model.namespace, spec=spec)


def _matches(model: Model, routing: Routing) -> list[Object]:
    """At both gateways, or at the local one."""
    hosts = {
        model.inside(model.name): [routing.local_gateway, "mesh"],
        model.host(model.name, routing.domain): [routing.gateway],
    }
    found = [
        {"authority": _exactly(host), "gateways": gateways} for host, gateways in hosts.items()
    ]
    return found[:1] if model.local else found


def _exactly(host: str) -> Object:
    quoted = host.replace(".", r"\.")
    return {"regex": rf"^{quoted}(?::\d{{1,5}})?$"}


def _to_entry(model: Model, routing: Routing) -> Object:
    """To the local gateway, for the host there of the component that requests arrive at."""
    headers = {
        "Host": model.inside(model.entry),
        "KServe-Isvc-Name": model.name,
        "KServe-Isvc-Namespace": model.namespace,
    }
    destination = {"host": routing.local_service, "port": {"number": 80}}
    return {
        "route": [{"destination": destination, "weight": 100}],
        "headers": {"request": {"set": headers}},
    }


def knative_service_routes(
    model: Model, routing: Routing, component: str, *, tags: Sequence[str] = ()
) -> Object:
    """The VirtualService of a component's Knative service at both gateways, as net-istio writes it,
    without the routes of its probes. `tags`: each has hosts of its own.
    """
    name = f"{component}-00001"
    to_revision = {
        "destination": {"host": model.inside(name), "port": {"number": 80}},
        "weight": 100,
        "headers": {
            "request": {
                "set": {
                    "Knative-Serving-Namespace": model.namespace,
                    "Knative-Serving-Revision": name,
                }
            }
        },
    }
    hosts, http, gateways = [], [], [routing.local_gateway]
    if not model.local:
        gateways.append(routing.gateway)
    for route in (component, *(f"{tag}-{component}" for tag in tags)):
        inside = f"{route}.{model.namespace}"
        hosts += [inside, f"{inside}.svc", f"{inside}.svc.cluster.local"]
        places = [(inside, routing.local_gateway)]
        if not model.local:
            outside = model.host(route, routing.domain)
            hosts.append(outside)
            places.append((outside, routing.gateway))
        http += [
            {
                "match": [{"authority": {"prefix": host}, "gateways": [gateway]}],
                "route": [to_revision],
                "retries": {},
            }
            for host, gateway in places
        ]
    spec = {"hosts": sorted(hosts), "gateways": sorted(gateways), "http": http}
    name = f"{component}-ingress"
    return make(_NETWORKING, "VirtualService", name, model.namespace, spec=spec)


def ingress(model: Model, routing: Routing) -> Object:
    """The Ingress of a model in Standard mode (`createRawIngress`), where KServe uses no Gateway
    API. It has no paths. A transformer's host leads to the predictor: so it is in KServe.
    """
    services = [(model.name, model.entry)]
    if model.transformer:
        services.append((model.entry, model.predictor))
    services.append((model.predictor, model.predictor))
    rules = [
        {
            "host": model.host(name, routing.domain),
            "http": {
                "paths": [
                    {
                        "path": "/",
                        "pathType": "Prefix",
                        "backend": {"service": {"name": service, "port": {"number": 80}}},
                    }
                ]
            },
        }
        for name, service in services
    ]
    spec = {"ingressClassName": routing.ingress_class, "rules": rules}
    return make("networking.k8s.io/v1", "Ingress", model.name, model.namespace, spec=spec)


def http_routes(model: Model, routing: Routing) -> list[Object]:
    """The HTTPRoutes of a model in Standard mode with `enableGatewayApi`: of each component, and of
    the model. With a path template, the last leads every path of the shared domain to this model:
    so it is in KServe (`createRawTopLevelHTTPRoute`).
    """
    routes = [
        _http_route(
            model, routing, each, [model.host(each, routing.domain)],
            [_raw_rule(model, "^/.*$", each)],
        )
        for each in model.components
    ]  # fmt: skip
    hosts = [model.host(model.name, routing.domain)]
    rules = [_raw_rule(model, "^/.*$", model.entry)]
    if routing.paths:
        hosts.append(routing.domain)
        rules.append(_raw_rule(model, f"{model.path}/", model.entry))
    return [*routes, _http_route(model, routing, model.name, hosts, rules)]


def _raw_rule(model: Model, regex: str, service: str) -> Object:
    headers = {"KServe-Isvc-Name": model.name, "KServe-Isvc-Namespace": model.namespace}
    named = [{"name": name, "value": value} for name, value in headers.items()]
    backend = {"kind": "Service", "name": service, "namespace": model.namespace, "port": 80}
    return {
        "matches": [{"path": {"type": "RegularExpression", "value": regex}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": named}}],
        "backendRefs": [backend],
        "timeouts": {"request": "60s"},
    }


def _http_route(
    model: Model, routing: Routing, name: str, hosts: list[str], rules: list[Object]
) -> Object:
    parent = _parent(routing)
    spec = {"hostnames": hosts, "rules": rules, "parentRefs": [parent]}
    return make(f"{_GATEWAY}/v1", "HTTPRoute", name, model.namespace, spec=spec)


def _parent(routing: Routing) -> Object:
    namespace, name = routing.gateway_api.split("/")
    return {"group": _GATEWAY, "kind": "Gateway", "namespace": namespace, "name": name}


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """An LLMInferenceService without a scheduler: its routes lead to its Service, and not to an
    InferencePool. `model`: its `spec.model.name`, which its owner chooses freely.
    """

    name: str
    namespace: str
    model: str = "llama"


def llm_inference_service(llm: LanguageModel) -> Object:
    """The LLMInferenceService itself, with the route that KServe writes by default."""
    spec = {
        "model": {"uri": "hf://example/llama", "name": llm.model},
        "router": {"route": {}, "gateway": {}},
    }
    version = f"{SERVING}/v1alpha2"
    return make(version, "LLMInferenceService", llm.name, llm.namespace, spec=spec)


_ENDPOINTS = {
    "v1-completions": "/v1/completions",
    "v1-chat-completions": "/v1/chat/completions",
    "v1-responses": "/v1/responses",
    "v1-messages": "/v1/messages",
}
MODEL_HEADER = "X-Gateway-Model-Name"
"""By this header a route takes a request for a model, whatever its path is."""


def llm_route(llm: LanguageModel, routing: Routing) -> Object:
    """The HTTPRoute of an LLMInferenceService: by its path, by that of its publisher, and by
    MODEL_HEADER.
    """
    rule = partial(_llm_rule, f"{llm.name}-kserve-workload-svc")
    published = f"publishers/{llm.namespace}/models/{llm.model}"
    own, publisher = f"/{llm.namespace}/{llm.name}", f"/{published}"
    named = [{"type": "Exact", "name": MODEL_HEADER, "value": published}]
    exact = [
        {"path": {"type": "Exact", "value": f"{path}{end}"}, "headers": named}
        for path in _ENDPOINTS.values()
        for end in ("", "/")
    ]
    rules = [
        *(rule(f"{name}-path", own + path, path) for name, path in _ENDPOINTS.items()),
        rule("v1-model-routing", matches=exact),
        *(
            rule(f"{name}-publisher-path", publisher + path, path)
            for name, path in _ENDPOINTS.items()
        ),
        rule("v1-publisher-path-catch-all", publisher, "/"),
        rule("v1-catch-all-path", own, "/"),
        rule("v1-catch-all-model-routing", matches=[{"headers": named}]),
    ]
    spec = {"parentRefs": [_parent(routing)], "rules": rules}
    return make(f"{_GATEWAY}/v1", "HTTPRoute", f"{llm.name}-kserve-route", llm.namespace, spec=spec)


def _llm_rule(
    service: str, name: str, prefix: str = "", becomes: str = "", *,
    matches: list[Object] | None = None,
) -> Object:  # fmt: skip
    """By the path's prefix, which is rewritten, or by `matches`."""
    rule: Object = {
        "name": name,
        "backendRefs": [{"kind": "Service", "name": service, "port": 8000, "weight": 1}],
        "matches": matches or [{"path": {"type": "PathPrefix", "value": prefix}}],
        "timeouts": {"backendRequest": "0s", "request": "0s"},
    }
    if matches is None:
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": becomes}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": {"path": path}}]
    return rule
