"""`daypass gate serve` for two gates before a real API server with KServe's kinds: which models a
caller reaches, by RBAC, and when that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass.rules.reasons import Reason
from support import raw
from support.authority import Authority
from support.authorizer_serving import NAME, Publishing, Serving, authorizer_kubeconfig
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.deadline import eventually
from support.identities import RBAC, Identity, allow, bound_cluster_wide, make_pod, unique
from support.kserve import LanguageModel, Model, inference_service, llm_inference_service
from support.rendered import config_of
from support.serving import gate_serve_over_tls
from support.tokens import ISSUER

KUBEFLOW, SERVING = "gate.example.com", "serving.example.com"
"""The audiences of the gates `kubeflow` and `serving`."""
REMEMBER_SECONDS = 2
ISVC, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
SHARED = "serving.example.org"
DOTTED, DASHED = "{name}.{namespace}.example.org", "{name}-{namespace}.raw.example.net"


def text(home: str, close_after: str = "10m") -> str:
    return f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains: {{ekf: {{host: ekf.example.com, front: istio, tls: {{secret: public}}}}}}
door: {{namespace: {home}}}
watch: {{closeAfter: {close_after}}}
gates:
  kubeflow: {{audience: {KUBEFLOW}, check: review, hosts: [ekf.example.com]}}
  serving:
    audience: {SERVING}
    check: review
    gatewayLabels: {{istio: serving-gateway}}
    boundTo: [Secret, Pod]
    cacheTtl: {REMEMBER_SECONDS}s
    hosts: ['{DOTTED}', '{DASHED}', {SHARED}]
    authorize:
    - {{host: '{DOTTED}', resource: {ISVC}}}
    - {{host: '{DASHED}', resource: {ISVC}}}
    - {{host: {SHARED}, path: '/serving/{{namespace}}/{{name}}/', resource: {ISVC}}}
    - {{host: {SHARED}, path: '/{{namespace}}/{{name}}/', resource: {LLM}}}
"""


def prepare_plane(plane: ControlPlane) -> None:
    install_kserve(plane)


@pytest.fixture(scope="module")
def home(plane: ControlPlane) -> str:
    return plane.make_namespace("gate")


@pytest.fixture(scope="module")
def kubeconfig(plane: ControlPlane, home: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gate") / "kubeconfig"
    return authorizer_kubeconfig(plane, config_of(text(home)), file)


@contextmanager
def serving(
    folder: Path, kubeconfig: Path, home: str, *arguments: str, close_after: str = "10m"
) -> Iterator[Serving]:
    authority = Authority()
    config, pair = text(home, close_after), authority.server(NAME)
    more = ("--kubeconfig", str(kubeconfig), *arguments)
    with gate_serve_over_tls(folder, config, pair, *more) as served:
        yield Serving(served=served, authority=authority, home=home)


@pytest.fixture(scope="module")
def serve(
    plane: ControlPlane, kubeconfig: Path, home: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """One without a watch."""
    with serving(tmp_path_factory.mktemp("s"), kubeconfig, home, "--without-watch") as running:
        eventually("it is ready", lambda: running.get("/readyz")[0] == 200)
        yield running


def create(plane: ControlPlane, *models: Model | LanguageModel) -> None:
    with admin_cluster(plane) as cluster:
        for each in models:
            cluster.create(
                llm_inference_service(each)
                if isinstance(each, LanguageModel)
                else inference_service(each)
            )


def delete(plane: ControlPlane, model: Model) -> None:
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{model.namespace}/inferenceservices"
    plane.admin.delete(f"{path}/{model.name}")


def may_call(plane: ControlPlane, identity: Identity, model: Model) -> None:
    """Give it a Role for exactly this model."""
    rule = {"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"],
            "resourceNames": [model.name], "verbs": ["get"]}  # fmt: skip
    allow(plane.admin, model.namespace, identity.service_account, rule, home=identity.namespace)


def bindings(plane: ControlPlane, namespace: str) -> list[str]:
    path = f"{RBAC}/namespaces/{namespace}/rolebindings"
    return [f"{path}/{each['metadata']['name']}" for each in plane.admin.get(path)["items"]]


@pytest.fixture
def caller(plane: ControlPlane) -> Identity:
    return plane.make_identity()


@pytest.fixture
def team(plane: ControlPlane) -> str:
    """A namespace with models."""
    return plane.make_namespace("models")


def bearer(plane: ControlPlane, identity: Identity, audience: str = SERVING) -> str:
    return raw.bearer(plane.make_token(identity, audiences=[audience]))


def at(model: Model) -> dict[str, str]:
    return {"gate": "serving", "host": f"{model.name}.{model.namespace}.example.org"}


def becomes(ask: Callable[[], Reason], reason: Reason) -> None:
    eventually(f"it is {reason}", lambda: ask() is reason)


def test_a_role_on_one_name_opens_that_model_and_no_other(
    plane: ControlPlane, serve: Serving, caller: Identity, team: str
) -> None:
    iris, cats = Model(name="iris", namespace=team), Model(name="cats", namespace=team)
    create(plane, iris, cats)
    may_call(plane, caller, iris)
    line = bearer(plane, caller)
    becomes(lambda: serve.reason(line, **at(iris)), Reason.ALLOWED)
    answer = serve.ask(line, **at(iris))
    assert answer.headers["kubeflow-userid"] == caller.user
    refused = serve.ask(line, **at(cats))
    absent = serve.ask(line, **at(Model(name="none", namespace=team)))
    assert (refused.code, refused.body) == (absent.code, absent.body)
    assert refused.code == 403
    assert refused.json["reason"] == "Forbidden"
    for path, reason in (
        (f"/serving/{team}/iris/v1/models/iris:predict", Reason.ALLOWED),
        (f"/serving/{team}/iris", Reason.ALLOWED),
        (f"/serving/{team}/cats/v1", Reason.MODEL),
        (f"/serving/{team}/", Reason.MODEL),
        (f"/serving/{team}/cats/../iris/v1", Reason.AMBIGUOUS),
        (f"/{team}/iris/v1", Reason.MODEL),
    ):
        assert serve.reason(line, gate="serving", host=SHARED, path=path) is reason, path
    events = [each for each in serve.served.events if each["event"] == "model-refused"]
    assert {each.get("model") for each in events} >= {f"{ISVC} {team}/cats"}
    assert {each["gate"] for each in events} == {"serving"}


def test_a_removed_role_binding_refuses_within_the_cache_time(
    plane: ControlPlane, serve: Serving, caller: Identity, team: str
) -> None:
    model = Model(name="iris", namespace=team)
    create(plane, model)
    may_call(plane, caller, model)
    line = bearer(plane, caller)
    becomes(lambda: serve.reason(line, **at(model)), Reason.ALLOWED)
    (binding,) = bindings(plane, team)
    plane.admin.delete(binding)
    began = SYSTEM_CLOCK.monotonic()
    becomes(lambda: serve.reason(line, **at(model)), Reason.MODEL)
    took = SYSTEM_CLOCK.monotonic() - began
    assert took < REMEMBER_SECONDS + 3, "its own authorizer takes a moment, and this machine"


def test_a_token_that_one_gate_has_cached_is_refused_at_the_other(
    plane: ControlPlane, serve: Serving, caller: Identity, team: str
) -> None:
    model = Model(name="iris", namespace=team)
    create(plane, model)
    may_call(plane, caller, model)
    ours, theirs = bearer(plane, caller), bearer(plane, caller, KUBEFLOW)
    becomes(lambda: serve.reason(ours, **at(model)), Reason.ALLOWED)
    assert serve.reason(theirs, gate="kubeflow") is Reason.ALLOWED
    for _ in range(2):
        assert serve.ask(theirs, **at(model)).code == 403
        assert serve.reason(theirs, **at(model)) is Reason.AUDIENCE
        assert serve.reason(ours, gate="kubeflow") is Reason.AUDIENCE
        forged = f"/gate/kubeflow/{at(model)['host']}/"
        assert serve.reason(theirs, **at(model), path=forged) is Reason.AUDIENCE
        assert serve.reason(ours, **at(model)) is Reason.ALLOWED
    assert serve.ask(ours, gate="other").code == 429, "Envoy makes a 503 of it"
    _, metrics = serve.get("/metrics")
    assert 'daypass_gate_decisions_total{gate="kubeflow",reason="audience"}' in metrics
    assert 'daypass_gate_access_reviews_total{gate="serving",result="answered"}' in metrics
    assert f'daypass_gate_models{{resource="{ISVC}"}}' in metrics
    assert "daypass_gate_requests_lost_total 1.0" in metrics


def test_a_second_model_that_makes_a_host_ambiguous_counts_at_once_until_it_is_gone(
    plane: ControlPlane, serve: Serving, caller: Identity
) -> None:
    c = unique("c")
    for namespace in (c, f"b-{c}"):
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    mine, added = Model(name="a", namespace=f"b-{c}"), Model(name="a-b", namespace=c)
    where = {"gate": "serving", "host": f"a-b-{c}.raw.example.net"}
    create(plane, mine)
    may_call(plane, caller, mine)
    line = bearer(plane, caller)
    becomes(lambda: serve.reason(line, **where), Reason.ALLOWED)
    create(plane, added)
    becomes(lambda: serve.reason(line, **where), Reason.MODEL)
    may_call(plane, caller, added)
    becomes(lambda: serve.reason(line, **where), Reason.ALLOWED)
    delete(plane, mine)
    for binding in bindings(plane, c):
        plane.admin.delete(binding)
    becomes(lambda: serve.reason(line, **where), Reason.MODEL)
    delete(plane, added)
    create(plane, mine)
    becomes(lambda: serve.reason(line, **where), Reason.ALLOWED)


def test_an_authorizer_that_may_not_list_models_is_not_ready_and_refuses_with_503(
    plane: ControlPlane, caller: Identity, team: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, model = plane.make_namespace("gate"), Model(name="iris", namespace=team)
    create(plane, model)
    may_call(plane, caller, model)
    folder = tmp_path_factory.mktemp("s")
    file = authorizer_kubeconfig(plane, config_of(text(home)), folder / "k", without="-models")
    line = bearer(plane, caller)
    with serving(folder, file, home, "--without-watch", close_after="30s") as running:
        why = eventually("it says why", lambda: running.message("llminferenceservices"))
        assert 'verbs: ["list"]' in why
        assert running.get("/readyz")[0] == 503
        assert running.reason(line, **at(model)) is Reason.UNKNOWN
        token = bearer(plane, caller, KUBEFLOW)
        assert running.reason(token, gate="kubeflow") is Reason.ALLOWED, "it needs no model"
        authorizer = {"kind": "ServiceAccount", "name": "daypass-gate", "namespace": home}
        with bound_cluster_wide(plane.admin, "cluster-admin", authorizer):
            becomes(lambda: running.reason(line, **at(model)), Reason.ALLOWED)
            assert running.get("/readyz")[0] == 200
        becomes(lambda: running.reason(line, **at(model)), Reason.UNKNOWN)
        assert running.ask(line, **at(model)).headers["retry-after"] == "1"


@pytest.fixture
def publishing(plane: ControlPlane, home: str) -> Iterator[Publishing]:
    """No credential is published."""
    made = Publishing(plane=plane, home=home)
    made.create()
    yield made
    made.delete()


def pod_token(plane: ControlPlane, identity: Identity, pod: str) -> Secret:
    uid = make_pod(plane.admin, identity.namespace, pod, service_account=identity.service_account)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid}
    spec = {"audiences": [SERVING], "boundObjectRef": reference}
    return Secret(plane.admin.create(identity.token_path, {"spec": spec})["status"]["token"])


def test_a_pod_calls_a_model_without_an_entry_in_the_set_until_it_is_denied_or_gone(
    plane: ControlPlane, caller: Identity, team: str, home: str, kubeconfig: Path,
    publishing: Publishing, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    model = Model(name="iris", namespace=team)
    create(plane, model)
    may_call(plane, caller, model)
    line = raw.bearer(pod_token(plane, caller, "bot-0"))
    with serving(tmp_path_factory.mktemp("s"), kubeconfig, home) as running:
        eventually("it is ready", lambda: running.get("/readyz")[0] == 200)
        becomes(lambda: running.reason(line, **at(model)), Reason.ALLOWED)
        secret = bearer(plane, caller)
        assert running.reason(secret, **at(model)) is Reason.UNKNOWN_CREDENTIAL
        elsewhere = bearer(plane, caller, KUBEFLOW)
        assert running.reason(elsewhere, gate="kubeflow") is Reason.UNKNOWN_CREDENTIAL
        publishing.deny(objects=[caller.service_account_uid])
        becomes(lambda: running.reason(line, **at(model)), Reason.DENIED)
        publishing.deny()
        becomes(lambda: running.reason(line, **at(model)), Reason.ALLOWED)
        plane.admin.delete(f"/api/v1/namespaces/{caller.namespace}/pods/bot-0", grace_seconds=0)
        becomes(lambda: running.reason(line, **at(model)), Reason.REVIEW_REFUSED)
