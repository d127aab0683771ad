"""A cluster with model serving as EKF and Kubeflow have it: istiod, a gateway for the ingress, one
for models and one for callers inside, and models behind them, with the routes that KServe writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daypass._core.objects import Object
from daypass.kube.cluster import Cluster
from daypass.local.echo import Echo
from support import identities, kserve, raw
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.istio_gates import route, service
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
_NETWORKING = "networking.istio.io/v1"


@dataclass(slots=True, kw_only=True)
class ServingEnv:
    """One that runs. `local`: there is none unless it is asked for; then what passes the gateway
    for models goes on to it, as in a cluster. Otherwise it goes on to the models at once.
    """

    plane: ControlPlane
    cluster: Cluster
    ingress: Gateway
    serving: Gateway
    local: Gateway | None
    public: Authority
    echo: int
    models: list[Model] = field(default_factory=list)

    def apply(self, *objects: Object) -> None:
        for each in objects:
            self.cluster.apply(each, force=True)

    def serve(self, *models: Model) -> None:
        """Models as they are once KServe and Knative have made what they make for them."""
        for model in models:
            self.apply(*model_objects(model, self.echo))
            self.models.append(model)

    def send(
        self, *lines: str, host: str, path: str = "/", sni: str = "", gateway: Gateway | None = None
    ) -> Answer:
        """The answer to a GET at a gateway, that for models if left out."""
        gateway = gateway or self.serving
        request = raw.get(*lines, host=host, path=path)
        if gateway.place.number != 443:
            with gateway.connect_plainly() as connection:
                conversation = Conversation(connection)
                conversation.send(request)
                return conversation.answer()
        name = sni or (EKF if gateway is self.ingress else DOMAIN)
        return gateway.send(request, name=name, authority_pem=self.public.pem)


def model_objects(model: Model, port: int) -> list[Object]:
    """An InferenceService, its routes, and something at `port` in the place of its pods."""
    components = [model.predictor]
    if model.transformer:
        components.append(f"{model.name}-transformer")
    if model.explainer:
        components.append(f"{model.name}-explainer")
    objects = [kserve.inference_service(model)]
    if model.standard:
        # KServe writes an Ingress. This is what its class `istio` would make of it.
        objects += [_as_virtual_service(kserve.ingress(model, ROUTING))]
        backends = components
    else:
        objects.append(kserve.virtual_service(model, ROUTING))
        objects += [kserve.knative_service_routes(model, ROUTING, each) for each in components]
        backends = [f"{each}-00001" for each in components]
    return [
        *objects,
        *(
            service_entry(
                each, port, model.namespace, host=model.inside(each), number=80, protocol="HTTP"
            )
            for each in backends
        ),
    ]


def _as_virtual_service(ingress: Object) -> Object:
    """An Ingress of plain hosts as a VirtualService at the gateway for models."""
    metadata = ingress["metadata"]
    rules = {rule["host"]: rule["http"]["paths"][0] for rule in ingress["spec"]["rules"]}
    http = [
        {
            "match": [{"authority": {"exact": host}}],
            "route": [
                {
                    "destination": {
                        "host": f"{path['backend']['service']['name']}"
                        f".{metadata['namespace']}.svc.cluster.local",
                        "port": {"number": 80},
                    }
                }
            ],
        }
        for host, path in rules.items()
    ]
    spec = {"gateways": [ROUTING.gateway], "hosts": sorted(rules), "http": http}
    return make(_NETWORKING, "VirtualService", metadata["name"], metadata["namespace"], spec=spec)


def listening(gateway: str, place: Place, *hosts: str) -> Object:
    """A Gateway of Istio's, NAMESPACE/NAME, that serves these hosts at a place."""
    server: Object = {"hosts": list(hosts)}
    if place.number == 443:
        server["port"] = {"number": 443, "name": "https", "protocol": "HTTPS"}
        server["tls"] = {"mode": "SIMPLE", "credentialName": "public"}
    else:
        server["port"] = {"number": place.number, "name": "http", "protocol": "HTTP"}
    spec = {"selector": dict(place.labels), "servers": [server]}
    namespace, name = gateway.split("/")
    return make(_NETWORKING, "Gateway", name, namespace, spec=spec)


@contextmanager
def running_serving(folder: Path, *, local: bool = False) -> Iterator[ServingEnv]:
    """A control plane with KServe's kinds, istiod and its gateways, and an echo service at EKF."""
    public = Authority()
    pair = public.server(EKF, DOMAIN, f"*.{DOMAIN}")
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
            listening(f"{INGRESS.namespace}/public", INGRESS, EKF),
            listening(ROUTING.gateway, SERVING, "*"),
            listening(ROUTING.local_gateway, LOCAL, "*"),
            route(EKF, "echo"),
            service("echo", echo),
        ):
            cluster.apply(each)
        gateways = stack.enter_context(running_gateways(folder / "gateways", plane, *places))
        onward = gateways[2].port if local else echo
        host = ROUTING.local_service
        cluster.apply(
            service_entry("onward", onward, NAMESPACE, host=host, number=80, protocol="HTTP")
        )
        yield ServingEnv(
            plane=plane, cluster=cluster, ingress=gateways[0], serving=gateways[1],
            local=gateways[2] if local else None, public=public, echo=echo,
        )  # fmt: skip
