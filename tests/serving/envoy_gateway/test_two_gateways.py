"""Two Gateways of Envoy Gateway, each with a gate, and one authorizer: models in Standard mode and
language models, with the HTTPRoutes that KServe writes for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.analysis.checks import find_in_cluster
from daypass.local.echo import Echo
from daypass.rules.reasons import Reason
from serving.kubelet import Kubelet
from serving.model_serving import (
    DOMAIN,
    EKF,
    HOSTS,
    PATH,
    RESOURCE,
    SERVING_AUDIENCE,
    Gate,
    config_text,
)
from support import identities, raw
from support.authority import Authority
from support.clusters import admin_cluster, apply
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.deadline import eventually
from support.envoy_gateway import (
    endpoints,
    gateway,
    listener,
    namespace,
    prepare,
    route,
    running_envoy_gateway,
    service,
)
from support.gate_differences import assert_refused, reason_in
from support.identities import Identity
from support.kserve import (
    MODEL_HEADER,
    LanguageModel,
    Model,
    Routing,
    http_routes,
    inference_service,
    llm_inference_service,
    llm_route,
)
from support.objects import tls_secret
from support.ports import free_ports
from support.raw import Answer, connect, exchange
from support.rendered import config_of
from support.tokens import AUDIENCE
from support.watching import HOME, identity_namespace

pytestmark = pytest.mark.timeout(600)

INFRA = "infra"
ROUTING = Routing(domain=DOMAIN, gateway_api=f"{INFRA}/serving", paths=False)
IRIS = Model(name="iris", namespace="alice", standard=True)
MNIST = Model(name="mnist", namespace="bob", standard=True)
CHAT = LanguageModel(name="chat", namespace="alice", model="llama")
OTHER_CHAT = LanguageModel(name="chat", namespace="bob", model="llama")
LLM, LLM_HOST = "llminferenceservices", f"llm.{DOMAIN}"
"""KServe's route names no host, and so is none of a host that another names, as the door does."""
PATHS = Routing(domain=f"paths.{DOMAIN}", gateway_api=ROUTING.gateway_api)
DOMAINS: Object = {
    "ekf": {"host": EKF, "front": "gateway-api", "gateway": f"{INFRA}/ekf", "tls": "outside"},
    "serving": {
        "host": DOMAIN, "front": "gateway-api", "gateway": ROUTING.gateway_api, "tls": "outside",
    },
}  # fmt: skip
EKF_GATE: Gate = {
    "engine": "envoy-gateway", "gateway": f"{INFRA}/ekf", "audience": AUDIENCE, "hosts": [EKF],
}  # fmt: skip
SERVING_GATE: Gate = {
    "engine": "envoy-gateway",
    "gateway": ROUTING.gateway_api,
    "audience": SERVING_AUDIENCE,
    "hosts": [HOSTS[1], LLM_HOST, PATHS.domain, DOMAIN],
    "cacheTtl": "5s",
    "authorize": [
        {"host": HOSTS[1], "resource": RESOURCE},
        {"host": LLM_HOST, "path": "/{namespace}/{name}/", "resource": f"{LLM}.serving.kserve.io"},
        {"host": PATHS.domain, "path": PATH, "resource": RESOURCE},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """Both Gateways: `ports` has where each serves, by its host."""

    plane: ControlPlane
    public: Authority
    ports: dict[str, int]

    def call(self, token: Secret | None, *lines: str, host: str, path: str = "/") -> Answer:
        """The answer to a GET with this token, at the Gateway for the host."""
        name = EKF if host == EKF else DOMAIN
        carried = [] if token is None else [raw.bearer(token)]
        with connect(self.ports[name], authority_pem=self.public.pem, name=name) as connection:
            return exchange(connection, raw.get(*carried, *lines, host=host, path=path))

    def token(self, identity: Identity, audience: str = SERVING_AUDIENCE) -> Secret:
        return self.plane.make_token(identity, audiences=[audience])


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Env]:
    folder, public = tmp_path_factory.mktemp("two-gateways"), Authority()
    (folder / "control").mkdir()
    ports = dict(zip((EKF, DOMAIN), free_ports(2), strict=True))
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane.start(folder / "plane"))
        cluster = stack.enter_context(admin_cluster(plane))
        echo = stack.enter_context(Echo()).address.port
        prepare(plane)
        install_kserve(plane)
        stack.enter_context(running_envoy_gateway(folder / "control", plane))
        pair = public.server(EKF, DOMAIN, f"*.{DOMAIN}")
        apply(
            plane,
            *map(namespace, (INFRA, "apps", "alice", "bob")),
            tls_secret("public", INFRA, pair),
            *(
                gateway(name, INFRA, listener("https", ports[host], secret="public"))
                for name, host in (("ekf", EKF), ("serving", DOMAIN))
            ),
            *behind("echo", "apps", echo),
            route("ekf", "apps", gateway=f"{INFRA}/ekf", host=EKF, service="echo"),
            *(each for model in (IRIS, MNIST) for each in model_objects(model, echo)),
            *(each for llm in (CHAT, OTHER_CHAT) for each in llm_objects(llm, echo)),
        )
        kubelet = Kubelet(
            folder=folder, plane=plane, cluster=cluster,
            connect=lambda name, port: apply(plane, endpoints(name, HOME, port)),
        )  # fmt: skip
        stack.callback(kubelet.stop)
        text = config_text(domains=DOMAINS, default=EKF_GATE, serving=SERVING_GATE)
        kubelet.apply(text)
        yield Env(plane=plane, public=public, ports=ports)


def behind(name: str, namespace: str, port: int, *, number: int = 80) -> list[Object]:
    """A Service that leads to a port of this machine."""
    return [service(name, namespace, number), endpoints(name, namespace, port)]


def model_objects(model: Model, port: int) -> list[Object]:
    objects = [inference_service(model), *http_routes(model, ROUTING)]
    return [*objects, *behind(model.predictor, model.namespace, port)]


def llm_objects(llm: LanguageModel, port: int) -> list[Object]:
    service = behind(f"{llm.name}-kserve-workload-svc", llm.namespace, port, number=8000)
    return [llm_inference_service(llm), llm_route(llm, ROUTING), *service]


@pytest.fixture
def bot(env: Env) -> Identity:
    """An identity that may call nothing yet, and is known to the gates."""
    identity = env.plane.make_identity(identity_namespace(env.plane))
    token = env.token(identity)

    def is_known() -> bool:
        # Not the model of the tests: that it may not be called is remembered for five seconds.
        return reason_in(env.call(token, host=host_of(MNIST))) is Reason.MODEL

    eventually("its credential is known", is_known)
    return identity


def host_of(model: Model) -> str:
    return model.host(model.name, DOMAIN)


def test_a_role_on_one_name_opens_one_model(env: Env, bot: Identity) -> None:
    allow(env, bot, "inferenceservices", "iris")
    token = env.token(bot)
    for host in (host_of(IRIS), IRIS.host(IRIS.predictor, DOMAIN)):
        answer = env.call(token, host=host)
        assert answer.code == 200, answer
        headers = answer.json["headers"]
        assert (headers["kserve-isvc-name"], headers["kubeflow-userid"]) == ("iris", bot.user)
        assert_refused(env.call(None, host=host), Reason.NO_TOKEN)
    assert_refused(env.call(token, host=host_of(MNIST)), Reason.MODEL)


COMPLETE = "/v1/chat/completions"


def test_a_language_model_is_called_by_its_path_alone(env: Env, bot: Identity) -> None:
    allow(env, bot, LLM, "chat")
    token = env.token(bot)
    answer = env.call(token, host=LLM_HOST, path=f"/alice/chat{COMPLETE}")
    assert (answer.code, answer.json["path"]) == (200, COMPLETE)
    published = f"publishers/bob/models/{OTHER_CHAT.model}"
    named = f"{MODEL_HEADER}: {published}"
    for lines, path, reason in (
        ((), f"/bob/chat{COMPLETE}", Reason.MODEL),
        ((), f"/{published}{COMPLETE}", Reason.MODEL),
        ((), f"/publishers/alice/models/llama{COMPLETE}", Reason.MODEL),
        ((named,), COMPLETE, Reason.AMBIGUOUS),
        ((named,), f"/alice/chat{COMPLETE}", Reason.AMBIGUOUS),
        # The Gateway resolves the dots before it asks the gate, and leads to that path.
        ((), f"/alice/chat/../../bob/chat{COMPLETE}", Reason.MODEL),
        ((), f"/alice/chat/%2e%2e/%2e%2e/bob/chat{COMPLETE}", Reason.MODEL),
        ((), f"/alice/chat/;x{COMPLETE}", Reason.AMBIGUOUS),
    ):
        assert_refused(env.call(token, *lines, host=LLM_HOST, path=path), reason)


def test_the_route_of_a_language_model_opens_no_other_host(env: Env, bot: Identity) -> None:
    """KServe's route is for every host of the Gateway."""
    allow(env, bot, LLM, "chat")
    token = env.token(bot)
    published = f"publishers/bob/models/{OTHER_CHAT.model}"
    for host in (host_of(IRIS), f"other.{DOMAIN}", f"x.y.{DOMAIN}"):
        for path in ("bob/chat", published):
            answer = env.call(token, host=host, path=f"/{path}{COMPLETE}")
            assert reason_in(answer) in (Reason.MODEL, Reason.NOT_GUARDED), (host, path)


def test_a_path_template_in_standard_mode_leads_to_another_model_than_it_names(
    env: Env, bot: Identity
) -> None:
    """KServe's own route: what `authorize` reads is not what is reached. `apply` reports it."""
    *_, whole = http_routes(IRIS, PATHS)
    apply(env.plane, {**whole, "metadata": {"name": "iris-paths", "namespace": "alice"}})
    allow(env, bot, "inferenceservices", "mnist", namespace="bob")
    path = f"{MNIST.path}/v1/models/mnist:predict"

    def reached() -> Object | None:
        answer = env.call(env.token(bot), host=PATHS.domain, path=path)
        return answer.json["headers"] if answer.code == 200 else None

    headers = eventually("there is a route", reached, seconds=60)
    assert (headers["kserve-isvc-namespace"], headers["kserve-isvc-name"]) == ("alice", "iris")
    config = config_of(config_text(domains=DOMAINS, default=EKF_GATE, serving=SERVING_GATE))
    with admin_cluster(env.plane) as cluster:
        found = find_in_cluster(cluster, config)
    assert [each.fact for each in found if "alice/iris-paths" in each.fact]


def test_a_deleted_secret_closes_both_gates(env: Env, bot: Identity) -> None:
    allow(env, bot, "inferenceservices", "iris")
    places = {EKF: env.token(bot, AUDIENCE), host_of(IRIS): env.token(bot)}
    for host, token in places.items():
        assert env.call(token, host=host).code == 200
    env.plane.admin.delete(bot.secret_path)
    for host, token in places.items():
        eventually("it is refused", lambda h=host, t=token: env.call(t, host=h).code == 401)  # type: ignore[misc]


def allow(env: Env, bot: Identity, resource: str, name: str, *, namespace: str = "alice") -> None:
    rule = {
        "apiGroups": ["serving.kserve.io"], "resources": [resource], "verbs": ["get"],
        "resourceNames": [name],
    }  # fmt: skip
    identities.allow(env.plane.admin, namespace, bot.service_account, rule, home=bot.namespace)
