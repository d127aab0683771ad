"""Who may call which model: three gateways, three gates, KServe's routes, Kubeflow's roles."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml
from tools.docs.pages import ROOT

from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.kube.errors import ForbiddenError
from daypass.rules.reasons import Reason
from serving.model_serving import (
    DOMAIN,
    EKF,
    EKF_GATE,
    INSIDE_AUDIENCE,
    INSIDE_GATE,
    SERVING_AUDIENCE,
    SERVING_GATE,
    ServingEnv,
    config_text,
    running_serving,
)
from support.deadline import eventually
from support.gate_differences import assert_refused, reason_in
from support.identities import Identity, bind, make_pod, token_path
from support.kserve import Model, inference_service
from support.kubeflow import install_kserve_roles, install_kubeflow
from support.raw import Answer
from support.tokens import AUDIENCE
from support.watching import identity_namespace

pytestmark = pytest.mark.timeout(300)

IRIS = Model(name="iris", namespace="alice")
WINE = Model(name="wine", namespace="alice", transformer=True)
STANDARD = Model(name="mnist", namespace="bob", standard=True)
INSIDE = Model(name="secret", namespace="bob", local=True)
MODELS = (IRIS, WINE, STANDARD, INSIDE)
EXAMPLE = ROOT / "examples/model-client.yaml"
GET = {"group": "serving.kserve.io", "resource": "inferenceservices", "verb": "get"}


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingEnv]:
    with running_serving(tmp_path_factory.mktemp("serving"), local=True) as running:
        install_kubeflow(running.plane)
        install_kserve_roles(running.plane)
        for namespace in ("alice", "bob"):
            running.plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        running.serve(*MODELS)
        # What passes the gateway for models comes to that for callers inside with its token.
        serving = {**SERVING_GATE, "forwardToken": True}
        running.kubelet.apply(config_text(default=EKF_GATE, serving=serving, inside=INSIDE_GATE))
        yield running


@pytest.fixture(scope="module")
def reader(env: ServingEnv) -> Identity:
    """An identity that may call all models, by Kubeflow's role."""
    identity = env.plane.make_identity(identity_namespace(env.plane), "reader")
    for namespace in ("alice", "bob"):
        bind(
            env.plane.admin, namespace, "reader", role="kubeflow-view", home=identity.namespace,
            until=GET,
        )  # fmt: skip
    token = token_of(env, identity)
    eventually("its token passes", lambda: call(env, token, IRIS).code == 200)
    return identity


@pytest.fixture
def bot(env: ServingEnv) -> Identity:
    """An identity that may call nothing yet, and is known to the gates."""
    identity = env.plane.make_identity(identity_namespace(env.plane))
    token = token_of(env, identity)

    def is_known() -> bool:
        # Not a model that tests allow: that it may not be called is remembered for five seconds.
        return reason_in(call(env, token, STANDARD)) is Reason.MODEL

    eventually("its credential is known", is_known)
    return identity


def token_of(env: ServingEnv, identity: Identity, audience: str = SERVING_AUDIENCE) -> Secret:
    return env.plane.make_token(identity, audiences=[audience])


def call(env: ServingEnv, token: Secret, model: Model) -> Answer:
    """A call of a model at the gateway for models, by its host."""
    return env.call(token, host=model.host(model.name, DOMAIN))


def call_inside(env: ServingEnv, token: Secret, model: Model, end: str = "") -> Answer:
    return env.call(token, host=f"{model.predictor}.{model.namespace}{end}", gateway=env.local)


def becomes_allowed(env: ServingEnv, token: Secret, model: Model) -> None:
    """That a model may be called; that it may not is remembered for five seconds."""
    eventually("it may be called", lambda: call(env, token, model).code == 200, seconds=30)


PREDICT = "/v1/models/wine:predict"
REACHED = {
    (f"iris.alice.{DOMAIN}", "/v1/x"): ("iris-predictor.alice.svc.cluster.local", "/v1/x"),
    (f"iris-predictor.alice.{DOMAIN}", "/"): (f"iris-predictor.alice.{DOMAIN}", "/"),
    (DOMAIN, "/serving/alice/iris/v1/x"): ("iris-predictor.alice.svc.cluster.local", "/v1/x"),
    (DOMAIN, "/serving/alice/iris"): ("iris-predictor.alice.svc.cluster.local", "/"),
    (f"wine.alice.{DOMAIN}", PREDICT): ("wine-transformer.alice.svc.cluster.local", PREDICT),
    (f"mnist-bob.{DOMAIN}", "/"): (f"mnist-bob.{DOMAIN}", "/"),
    (f"mnist-predictor-bob.{DOMAIN}", "/"): (f"mnist-predictor-bob.{DOMAIN}", "/"),
}
"""What a request's host and path are at the model, by what they were: KServe's routes."""


@pytest.mark.parametrize("asked", REACHED, ids="".join)
def test_a_host_or_path_leads_to_its_model_and_to_nobody_without_a_token(
    env: ServingEnv, reader: Identity, asked: tuple[str, str]
) -> None:
    host, path = asked
    answer = env.call(token_of(env, reader), host=host, path=path)
    assert answer.code == 200, answer
    headers = answer.json["headers"]
    assert (headers["host"], answer.json["path"]) == REACHED[asked]
    assert headers["kubeflow-userid"] == reader.user
    assert_refused(env.send(host=host, path=path), Reason.NO_TOKEN)


@pytest.mark.parametrize("end", [".svc.cluster.local", ".svc", ""])
def test_callers_inside_reach_components_by_every_short_form(
    env: ServingEnv, reader: Identity, end: str
) -> None:
    token = token_of(env, reader, INSIDE_AUDIENCE)
    for model in (IRIS, INSIDE):
        answer = call_inside(env, token, model, end)
        assert answer.code == 200, answer
        assert "authorization" not in answer.json["headers"]
        host = f"{model.predictor}.{model.namespace}{end}"
        assert_refused(env.send(host=host, gateway=env.local), Reason.NO_TOKEN)


def test_a_model_for_callers_inside_is_not_to_be_had_outside(
    env: ServingEnv, reader: Identity
) -> None:
    token = token_of(env, reader)
    for host in (f"secret.bob.{DOMAIN}", f"secret-predictor.bob.{DOMAIN}"):
        # The reader may call it, and there is no route: as if there was no such model.
        assert_refused(env.call(token, host=host), Reason.MODEL)
    assert reason_in(env.call(token, host="secret.bob.svc.cluster.local")) is Reason.NOT_GUARDED


def test_what_kubeflows_own_test_asserts_about_tokens_holds(env: ServingEnv, bot: Identity) -> None:
    """`tests/kserve_test.sh` in github.com/kubeflow/manifests, with an identity of daypass that has
    the role of Kubeflow's `default-editor`. What passes there passes; what is refused there with
    403 is refused with 401 if there is no token.
    """
    role = {"role": "kubeflow-edit", "home": bot.namespace, "until": GET}
    bind(env.plane.admin, "alice", bot.service_account, **role)  # type: ignore[arg-type]
    bind(env.plane.admin, "bob", bot.service_account, **role)  # type: ignore[arg-type]
    editor = token_of(env, bot)
    predict = "/v1/models/iris:predict"
    path, host = f"/serving/alice/iris{predict}", f"iris.alice.{DOMAIN}"
    for model in (IRIS, STANDARD):
        becomes_allowed(env, editor, model)
    # 2a, 2b, 7: by path, by host, and by the host of a model in Standard mode.
    for at, below in ((DOMAIN, path), (host, predict), (f"mnist-bob.{DOMAIN}", predict)):
        assert env.send(host=at, path=below).code == 401, at
        assert env.call(editor, host=at, path=below).code == 200, at
    # 3: a token of no editor, as `kubectl create token` makes it.
    for audiences in ([], [SERVING_AUDIENCE]):
        unbound = {"spec": {"audiences": audiences}}
        made = env.plane.admin.create(token_path("bob", "default"), unbound)
        assert env.call(Secret(made["status"]["token"]), host=host, path=predict).code == 403
    # 4: the host inside, at the gateways to the outside.
    inside = f"{IRIS.predictor}.alice.svc.cluster.local"
    for gateway in (env.ingress, env.serving):
        for line in ("x: y", "Authorization: Bearer invalid-token"):
            assert env.send(line, host=inside, gateway=gateway).code in (401, 404)
    # 5: the gateway inside.
    assert env.send(host=inside, gateway=env.local).code == 401
    assert call_inside(env, token_of(env, bot, INSIDE_AUDIENCE), IRIS).code == 200
    # 6: another namespace, whose token passes in Kubeflow as soon as a model has been called.
    attacker = token_of(
        env, env.plane.make_identity(identity_namespace(env.plane)), INSIDE_AUDIENCE
    )
    eventually(
        "it is refused for its namespace",
        lambda: reason_in(call_inside(env, attacker, IRIS)) is Reason.MODEL,
    )


def test_what_one_gate_remembers_opens_no_other(env: ServingEnv, reader: Identity) -> None:
    inside = token_of(env, reader, INSIDE_AUDIENCE)
    for _ in range(2):
        assert call_inside(env, inside, IRIS).code == 200
        assert_refused(call(env, inside, IRIS), Reason.AUDIENCE)
    ekf = token_of(env, reader, AUDIENCE)
    for _ in range(2):
        assert env.call(ekf, host=EKF, gateway=env.ingress).code == 200
        assert_refused(call(env, ekf, IRIS), Reason.AUDIENCE)
        assert_refused(call_inside(env, ekf, IRIS), Reason.AUDIENCE)
    assert_refused(env.call(token_of(env, reader), host=EKF, gateway=env.ingress), Reason.AUDIENCE)


def test_a_role_on_one_name_opens_one_model(env: ServingEnv, bot: Identity) -> None:
    env.allow(bot, "iris", namespace="alice")
    token = token_of(env, bot)
    becomes_allowed(env, token, IRIS)
    for host, path in ((f"iris-predictor.alice.{DOMAIN}", "/"), (DOMAIN, "/serving/alice/iris/")):
        assert env.call(token, host=host, path=path).code == 200
    for model in (WINE, STANDARD):
        assert_refused(call(env, token, model), Reason.MODEL)
    # One that is not there is refused alike: nobody learns which are.
    refusal = env.call(token, host=f"none.alice.{DOMAIN}")
    assert refusal.body == call(env, token, WINE).body
    assert_refused(refusal, Reason.MODEL)


def test_a_role_that_is_taken_away_closes_within_what_is_remembered(
    env: ServingEnv, bot: Identity
) -> None:
    env.allow(bot, "iris", namespace="alice")
    token = token_of(env, bot)
    becomes_allowed(env, token, IRIS)
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/alice/rolebindings"
    for binding in env.plane.admin.get(bindings)["items"]:
        if any(each.get("namespace") == bot.namespace for each in binding["subjects"]):
            env.plane.admin.delete(f"{bindings}/{binding['metadata']['name']}")
    answer = eventually(
        "it is refused", lambda: a if (a := call(env, token, IRIS)).code != 200 else None,
        seconds=5 + 3,
    )  # fmt: skip
    assert_refused(answer, Reason.MODEL)


def test_a_host_with_two_readings_needs_both_once_both_exist(
    env: ServingEnv, bot: Identity
) -> None:
    """`a-b-c` is `a-b` in `c`, or `a` in `b-c`."""
    admin, namespace = env.plane.admin, bot.namespace
    mine = Model(name="a-x", namespace=namespace, standard=True)
    env.serve(mine)
    env.allow(bot, mine.name)
    token = token_of(env, bot)
    becomes_allowed(env, token, mine)
    other = f"x-{namespace}"
    admin.create("/api/v1/namespaces", {"metadata": {"name": other}})
    env.apply(inference_service(Model(name="a", namespace=other, standard=True)))
    answer = eventually(
        "it is ambiguous", lambda: a if (a := call(env, token, mine)).code != 200 else None
    )
    assert_refused(answer, Reason.MODEL)
    env.allow(bot, "a", namespace=other)
    becomes_allowed(env, token, mine)


def test_a_model_called_like_anothers_component_is_needed_too(
    env: ServingEnv, bot: Identity
) -> None:
    mine = Model(name="rose", namespace=bot.namespace)
    env.serve(mine)
    env.allow(bot, "rose")
    token, host = token_of(env, bot), mine.host(mine.predictor, DOMAIN)
    eventually("it is there", lambda: env.call(token, host=host).code == 200)
    env.apply(inference_service(Model(name="rose-predictor", namespace=bot.namespace)))
    # Also by the model's own host: at the gateway inside, that is the component's.
    for each in (host, mine.host("rose", DOMAIN)):

        def is_ambiguous(each: str = each) -> bool:
            return reason_in(env.call(token, host=each)) is Reason.MODEL

        eventually("it is ambiguous", is_ambiguous)
    env.allow(bot, "rose-predictor")
    becomes_allowed(env, token, mine)


def test_a_pods_own_token_calls_the_models_that_its_account_may(
    env: ServingEnv, reader: Identity
) -> None:
    plane = env.plane
    for namespace in ("alice", plane.make_namespace()):
        plane.admin.apply(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/caller",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "caller"}},
        )
    env.allow_account("alice", "caller", "iris")
    own = pod_token(env, "alice", "caller", "job-1")
    other = pod_token(env, namespace, "caller", "job-1")
    assert call_inside(env, own, IRIS).code == 200
    assert_refused(call_inside(env, own, INSIDE), Reason.MODEL)
    assert_refused(call_inside(env, other, IRIS), Reason.MODEL)
    # The gate of the gateway for models takes none of a Pod.
    assert_refused(
        call(env, pod_token(env, "alice", "caller", "job-2", SERVING_AUDIENCE), IRIS),
        Reason.UNBOUND,
    )
    plane.admin.delete("/api/v1/namespaces/alice/pods/job-1?gracePeriodSeconds=0")
    # What is remembered counts for 5 s, and the API server's own cache for 10 s more.
    answer = eventually(
        "it is refused", lambda: a if (a := call_inside(env, own, IRIS)).code != 200 else None,
        seconds=30,
    )  # fmt: skip
    assert_refused(answer, Reason.REVIEW_REFUSED)


def test_the_pods_of_the_example_are_let_through_and_refused(env: ServingEnv) -> None:
    documents = list(yaml.safe_load_all(EXAMPLE.read_text()))
    *others, own, other = sorted(documents, key=lambda each: each["kind"] == "Pod")
    env.apply(*others)
    eventually("their accounts are known", lambda: applied(env, own, other))
    eventually("its Role is known", lambda: run_pod(env, own).code == 200, seconds=20)
    assert_refused(run_pod(env, other), Reason.MODEL)


def run_pod(env: ServingEnv, pod: Object) -> Answer:
    """The answer to what a Pod sends, with the token that kubelet would mount into it."""
    namespace, name = (pod["metadata"][key] for key in ("namespace", "name"))
    (volume,), (container,) = (pod["spec"][key] for key in ("volumes", "containers"))
    ((host, path),) = re.findall(r"http://([^/]+)(/\S+)", *container["args"])
    uid = env.plane.admin.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"]
    account = pod["spec"]["serviceAccountName"]
    mounted = volume["projected"]["sources"][0]["serviceAccountToken"]
    token = bound_token(env, namespace, account, name, uid, mounted["audience"])
    return env.call(token, host=host, path=path, gateway=env.local)


def applied(env: ServingEnv, *objects: Object) -> bool:
    """Whether the API server takes them: it looks for a Pod's account in a cache of its own."""
    try:
        env.apply(*objects)
    except ForbiddenError:
        return False
    return True


def pod_token(
    env: ServingEnv, namespace: str, account: str, pod: str, audience: str = INSIDE_AUDIENCE
) -> Secret:
    """What kubelet would mount into a Pod of this name."""
    uid = make_pod(env.plane.admin, namespace, pod, service_account=account)
    return bound_token(env, namespace, account, pod, uid, audience)


def bound_token(
    env: ServingEnv, namespace: str, account: str, pod: str, uid: str, audience: str
) -> Secret:
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
    spec = {"audiences": [audience], "boundObjectRef": bound}
    answer = env.plane.admin.create(token_path(namespace, account), {"spec": spec})
    return Secret(answer["status"]["token"])
