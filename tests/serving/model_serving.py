"""A cluster with model serving as EKF and Kubeflow have it: istiod, a gateway for the ingress, one
for models and one for callers inside, and models behind them, with the routes that KServe writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass._core.threads import in_parallel
from daypass.kube.cluster import Cluster
from daypass.local.echo import Echo
from serving.kubelet import Kubelet
from support import identities, kserve, raw
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.identities import Identity
from support.istio_gates import route, served_at, service
from support.istio_gateway import (
    INGRESS,
    NAMESPACE,
    Gateway,
    Place,
    prepare,
    running_gateways,
    service_entry,
)
from support.kserve import Model, Routing
from support.objects import make, tls_secret
from support.raw import Answer, Conversation
from support.tokens import AUDIENCE, ISSUER

EKF, DOMAIN = "ekf.example.com", "serving.example.com"
SERVING = Place(
    service="serving-gateway",
    namespace="serving",
    labels={"istio": "serving-gateway"},
    address="10.1.0.10",
)
LOCAL = Place(
    service="cluster-local-gateway",
    labels={"app": "cluster-local-gateway", "istio": "cluster-local-gateway"},
    address="10.1.0.11",
    number=80,
)
ROUTING = Routing(domain=DOMAIN, gateway=f"{SERVING.namespace}/serving")
SERVING_AUDIENCE, INSIDE_AUDIENCE = DOMAIN, "inside.example.com"
HOSTS = (f"{{name}}.{{namespace}}.{DOMAIN}", f"{{name}}-{{namespace}}.{DOMAIN}", DOMAIN)
PATH = "/serving/{namespace}/{name}/"
INSIDE = "{name}.{namespace}.svc.cluster.local"
RESOURCE = "inferenceservices.serving.kserve.io"
EKF_ROUTING = Routing(domain=EKF, gateway=f"{NAMESPACE}/public")
"""Of models that share the gateway of the ingress, as in Kubeflow's manifests."""
Gate = dict[str, Any]
EKF_GATE: Gate = {"engine": "istio", "audience": AUDIENCE, "hosts": [EKF], "check": "jwt"}
"""The gate of the ingress, as EKF has it."""
SERVING_GATE: Gate = {
    "engine": "istio",
    "gatewayNamespace": SERVING.namespace,
    "gatewayLabels": dict(SERVING.labels),
    "audience": SERVING_AUDIENCE,
    "hosts": list(HOSTS),
    "check": "review",
    "cacheTtl": "5s",
    "authorize": [
        {"host": HOSTS[0], "resource": RESOURCE},
        {"host": HOSTS[1], "resource": RESOURCE},
        {"host": DOMAIN, "path": PATH, "resource": RESOURCE},
    ],
}
"""The gate of the gateway for models: who may `get` a model may call it."""
INSIDE_GATE: Gate = {
    "engine": "istio",
    "gatewayLabels": dict(LOCAL.labels),
    "audience": INSIDE_AUDIENCE,
    "audiences": {SERVING_AUDIENCE: [INSIDE]},
    "hosts": [INSIDE],
    "boundTo": ["Secret", "Pod"],
    "check": "review",
    "cacheTtl": "5s",
    "authorize": [{"host": INSIDE, "resource": RESOURCE}],
}
"""That of the cluster-local gateway: Pods call models with their own tokens. What the gateway for
models has let through comes by with the token that it was let through with."""
_NETWORKING = "networking.istio.io/v1"


DOMAINS: Object = {
    "ekf": {
        "host": EKF, "front": "istio", "gateway": f"{NAMESPACE}/public", "tls": "outside",
    },
    "serving": {
        "host": DOMAIN, "front": "istio", "gateway": ROUTING.gateway, "tls": "outside",
    },
}  # fmt: skip
"""Those of EKF, each at a Gateway that is there."""


def config_text(*, domains: Object = DOMAINS, **gates: Gate) -> str:
    """A daypass.yaml with these gates."""
    audiences = [AUDIENCE, SERVING_AUDIENCE, INSIDE_AUDIENCE]
    document: Object = {
        "version": 1,
        "cluster": {"issuer": ISSUER},
        "domains": domains,
        "policy": {"audiences": audiences, "longestLifetime": "2h"},
        "gatePods": {"image": "registry.example.com/daypass:1"},
        "gates": gates,
    }
    return json.dumps(document, indent=2)


@dataclass(slots=True, kw_only=True)
class ServingEnv:
    """One that runs. `local`: there is none unless it is asked for; then what passes the gateway
    for models goes on to it, as in a cluster. Otherwise it goes on to the models at once.

    `kubelet`: applies configs, and runs what they ask for.
    """

    plane: ControlPlane
    cluster: Cluster
    ingress: Gateway
    serving: Gateway
    local: Gateway | None
    public: Authority
    models: int
    """The port of what answers for models."""
    kubelet: Kubelet

    def apply(self, *objects: Object) -> None:
        list(in_parallel(lambda each: self.cluster.apply(each, force=True), objects))

    def serve(self, *models: Model, routing: Routing = ROUTING) -> None:
        """Models as they are once KServe and Knative have made what they make for them."""
        self.apply(*(o for model in models for o in model_objects(model, self.models, routing)))

    def allow(self, identity: Identity, name: str, *, namespace: str = "") -> None:
        """Let an identity `get` a model, of its namespace or another, by a Role."""
        where = namespace or identity.namespace
        self.allow_account(where, identity.service_account, name, home=identity.namespace)

    def allow_account(self, namespace: str, account: str, name: str, *, home: str = "") -> None:
        """The same for a ServiceAccount. `home`: its namespace, if that is another."""
        rule = {
            "apiGroups": [kserve.SERVING], "resources": ["inferenceservices"], "verbs": ["get"],
            "resourceNames": [name],
        }  # fmt: skip
        identities.allow(self.plane.admin, namespace, account, rule, home=home or None)

    def call(self, token: Secret, **request: Any) -> Answer:
        """As `send`, with a token."""
        return self.send(raw.bearer(token), **request)

    def send(
        self, *lines: str, host: str, path: str = "/", gateway: Gateway | None = None
    ) -> Answer:
        """The answer to a GET at a gateway, that for models if left out."""
        gateway = gateway or self.serving
        request = raw.get(*lines, host=host, path=path)
        if gateway.place.number != 443:
            with gateway.connect_plainly() as connection:
                conversation = Conversation(connection)
                conversation.send(request)
                return conversation.answer()
        name = EKF if gateway is self.ingress else DOMAIN
        return gateway.send(request, name=name, authority_pem=self.public.pem)


def model_objects(model: Model, port: int, routing: Routing) -> list[Object]:
    """An InferenceService, its routes, and something at `port` in the place of its pods."""
    objects = [kserve.inference_service(model)]
    if model.standard:
        # KServe writes an Ingress. This is what its class `istio` would make of it.
        objects += [_as_virtual_service(kserve.ingress(model, routing), routing.gateway)]
        backends = model.components
    else:
        objects.append(kserve.virtual_service(model, routing))
        objects += [
            kserve.knative_service_routes(model, routing, each) for each in model.components
        ]
        backends = [f"{each}-00001" for each in model.components]
    return [
        *objects,
        *(
            service_entry(
                each, port, model.namespace, host=model.inside(each), number=80, protocol="HTTP"
            )
            for each in backends
        ),
    ]


def _as_virtual_service(ingress: Object, gateway: str) -> Object:
    """An Ingress of plain hosts as a VirtualService at a gateway."""
    metadata = ingress["metadata"]
    rules = {rule["host"]: rule["http"]["paths"][0] for rule in ingress["spec"]["rules"]}
    http = []
    for host, path in rules.items():
        service = f"{path['backend']['service']['name']}.{metadata['namespace']}"
        destination = {"host": f"{service}.svc.cluster.local", "port": {"number": 80}}
        match = [{"authority": {"exact": host}}]
        http.append({"match": match, "route": [{"destination": destination}]})
    spec = {"gateways": [gateway], "hosts": sorted(rules), "http": http}
    return make(_NETWORKING, "VirtualService", metadata["name"], metadata["namespace"], spec=spec)


@contextmanager
def running_serving(
    folder: Path, *, local: bool = False, models: int | None = None
) -> Iterator[ServingEnv]:
    """A control plane with KServe's kinds, istiod and its gateways, and an echo service at EKF.

    `models`: the port of what answers for models, if not the echo service.
    """
    public = Authority()
    names = (f"{below}{host}" for host in (EKF, DOMAIN) for below in ("", "*.", "*.alice."))
    pair = public.server(*names)
    places = [INGRESS, SERVING, *([LOCAL] if local else [])]
    (folder / "gateways").mkdir()
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane.start(folder / "plane"))
        cluster = stack.enter_context(admin_cluster(plane))
        echo = stack.enter_context(Echo()).address.port
        prepare(plane, *places)
        install_kserve(plane)
        identities.ensure_namespace(plane.admin, ROUTING.local_gateway.partition("/")[0])
        for each in (
            tls_secret("public", INGRESS.namespace, pair),
            tls_secret("public", SERVING.namespace, pair),
            served_at(EKF_ROUTING.gateway, INGRESS, ["*"]),
            served_at(ROUTING.gateway, SERVING, ["*"]),
            served_at(ROUTING.local_gateway, LOCAL, ["*"]),
            route(EKF, "echo"),
            service("echo", echo),
        ):
            cluster.apply(each)
        gateways = stack.enter_context(running_gateways(folder / "gateways", plane, *places))
        models = models or echo
        onward = gateways[2].port if local else models
        host = ROUTING.local_service
        cluster.apply(
            service_entry("onward", onward, NAMESPACE, host=host, number=80, protocol="HTTP")
        )
        kubelet = Kubelet(folder=folder, plane=plane, cluster=cluster)
        stack.callback(kubelet.stop)
        yield ServingEnv(
            plane=plane, cluster=cluster, kubelet=kubelet,
            ingress=gateways[0], serving=gateways[1], local=gateways[2] if local else None,
            public=public, models=models,
        )  # fmt: skip
