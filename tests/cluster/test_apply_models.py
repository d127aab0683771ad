"""What `apply` and `verify` report of access by model, and of several gates, by a real API server
with KServe's kinds and Kubeflow's roles.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.conftest import Run
from daypass._core.findings import Finding, Level
from daypass._core.kubernetes.objects import Object, name_of
from daypass.analysis.checks import find_if_possible
from daypass.config import Config
from daypass.deploy.apply import execute, wait_for_publication
from daypass.gate.publication import denials_config_map, shard_config_map
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.render.engines import engines_of
from daypass.render.names import GATE
from daypass.rules.published import CLUSTER_SHARDS, NAMES
from support.controlplane import ControlPlane
from support.crds import install_gateway_api, install_istio, install_kserve
from support.deadline import eventually
from support.deploying import QUICK_APPLY, apply, everything, named, plan, prepare, remove, write
from support.identities import RBAC
from support.kserve import (
    MODEL_HEADER,
    LanguageModel,
    Model,
    Routing,
    inference_service,
    llm_inference_service,
    llm_route,
    virtual_service,
)
from support.kubeflow import LABEL, install_kubeflow
from support.messages import check, message_with, raises
from support.objects import make
from support.programs import output_of
from support.publishing import published
from support.rendered import config_of
from support.tokens import ISSUER

pytestmark = pytest.mark.usefixtures("cleared")

KSERVE, DOMAIN = "serving.kserve.io", "serving.example.com"
ONE = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains: {ekf: {host: ekf.example.com, front: istio, tls: {secret: ekf-tls}}}
policy: {audiences: [gate, serving]}
gates: {default: {audience: gate, hosts: [ekf.example.com]}}
gatePods: {image: 'r.example.com/daypass:1'}
"""
SERVING = f"""\
  serving:
    audience: serving
    check: review
    gatewayLabels: {{istio: serving}}
    hosts: [{DOMAIN}, '{{name}}.{{namespace}}.{DOMAIN}']
    authorize:
    - {{host: '{{name}}.{{namespace}}.{DOMAIN}', resource: inferenceservices.{KSERVE}}}
    - host: {DOMAIN}
      path: '/serving/{{namespace}}/{{name}}/'
      resource: inferenceservices.{KSERVE}
"""
TWO = ONE.replace("gates: {default: {", "gates:\n  default: {").replace("com]}}", "com]}") + SERVING
TWO = (
    TWO.replace("gatePods: {image: 'r.example.com/daypass:1'}\n", "") + ONE[ONE.index("gatePods") :]
)
LLM = f"""\
    - host: {DOMAIN}
      path: '/{{namespace}}/{{name}}/'
      resource: llminferenceservices.{KSERVE}
"""
WITH_LLMS = TWO.replace("gatePods", f"{LLM}gatePods")
GATEWAY = make(
    "networking.istio.io/v1", "Gateway", "kubeflow-gateway", "kubeflow",
    spec={
        "selector": {"istio": "serving"},
        "servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTP"}, "hosts": ["*"]}],
    },
)  # fmt: skip
IRIS = Model(name="iris", namespace="alice")
LLAMA = LanguageModel(name="llama", namespace="bob")
ROUTING = Routing(domain=DOMAIN, gateway_api="kubeflow/none")


def prepare_plane(plane: ControlPlane) -> None:
    kinds = (install_istio, install_gateway_api, install_kserve, install_kubeflow)
    prepare(plane, kinds, "istio-system", "kubeflow", "knative-serving", "alice", "bob")
    for role, verbs, resources in (
        ("view", ["get", "list", "watch"], ["inferenceservices"]),
        ("edit", ["create", "patch", "update"], ["inferenceservices", "llminferenceservices"]),
    ):
        # As Kubeflow 26.03's `kubeflow-kserve-edit`; its older ones lack llminferenceservices.
        name = f"kubeflow-kserve-{role}"
        rule = {"apiGroups": [KSERVE], "resources": resources, "verbs": verbs}
        labels = {f"{LABEL}{role}": "true"}
        document = make("rbac.authorization.k8s.io/v1", "ClusterRole", name, rules=[rule])
        document["metadata"]["labels"] = labels
        plane.admin.apply(f"{RBAC}/clusterroles/{name}", document)
    eventually("the roles have models", lambda: "llminferenceservices" in str(
        plane.admin.get(f"{RBAC}/clusterroles/kubeflow-edit")))  # fmt: skip


@contextmanager
def there(cluster: Cluster, *documents: Object) -> Iterator[None]:
    """These objects exist for a while."""
    made = [cluster.create(document) for document in documents]
    try:
        yield
    finally:
        for each in made:
            metadata = each["metadata"]
            namespace = metadata.get("namespace")
            cluster.delete(cluster.resource(each), name_of(each), namespace, uid=metadata["uid"])


@contextmanager
def served(cluster: Cluster, *models: Model) -> Iterator[None]:
    """These models, with the routes that KServe makes for them, next to LLAMA without any."""
    services = [inference_service(model) for model in models]
    with there(cluster, GATEWAY, llm_inference_service(LLAMA), *services):
        routes = []
        for model, service in zip(models, services, strict=True):
            live = cluster.get(cluster.resource(service), model.name, model.namespace)
            owner = {"name": model.name, "uid": live["metadata"]["uid"]}
            owner |= {name: service[name] for name in ("apiVersion", "kind")}
            route = virtual_service(model, ROUTING)
            route["metadata"]["ownerReferences"] = [owner]
            routes.append(route)
        with there(cluster, *routes):
            yield


def found(cluster: Cluster | None, text: str = TWO) -> dict[str, list[Finding]]:
    """What `verify` finds about access by model, by check."""
    by_check: dict[str, list[Finding]] = {}
    for each in find_if_possible(cluster, config_of(text)):
        if each.check.startswith(("model-", "route-rights")):
            by_check.setdefault(each.check, []).append(each)
    return by_check


THEIRS = make(
    "networking.istio.io/v1", "VirtualService", "mine", "bob",
    spec={
        "hosts": [f"iris.alice.{DOMAIN}"], "gateways": ["kubeflow/kubeflow-gateway"],
        "http": [{"route": [{"destination": {"host": "mine"}}]}],
    },
)  # fmt: skip


def test_kserves_routes_and_roles_that_no_tenant_has_are_no_finding(cluster: Cluster) -> None:
    with served(cluster, IRIS), there(cluster, llm_route(LLAMA, ROUTING)):
        assert found(cluster) == {}
    assert found(cluster, ONE) == {}


def test_a_route_for_anothers_model_is_reported_by_apply_and_fails_verify(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    write(folder, TWO)
    with served(cluster, IRIS), there(cluster, THEIRS):
        message = message_with(run(*QUICK_APPLY, "--dry-run")[1], "VirtualService bob/mine")
        check(message, "alice/iris", "Gateway kubeflow/kubeflow-gateway", reason="model-routes")
        at = ("--kubeconfig", str(plane.kubeconfig))
        out, _ = run("verify", "ekf", *at, "-o", "json", code=3)
        (finding,) = (e for e in json.loads(out)["domains"]["ekf"] if e["check"] == "model-routes")
        assert finding["level"] == "failure"
        assert finding["fact"] in message
        out, _ = run("verify", "ekf", "-o", "json", code=3)
        (finding,) = (e for e in json.loads(out)["domains"]["ekf"] if e["check"] == "cluster")
        assert finding["level"] == "skipped"
        check(finding["fact"], "ways to models", reason="cluster")


def test_gateways_where_nobody_is_asked_are_reported(cluster: Cluster) -> None:
    local = make(
        "networking.istio.io/v1", "Gateway", "knative-local-gateway", "knative-serving",
        spec={**GATEWAY["spec"], "selector": {"istio": "cluster-local-gateway"}},
    )  # fmt: skip
    wine = Model(name="wine", namespace="bob")
    with served(cluster, IRIS, wine), there(cluster, local):
        ((finding,),) = found(cluster).values()
        check(finding.sentence, "knative-local-gateway", "alice and bob", reason="model-gateways")


def test_a_language_model_whose_path_or_header_no_gate_reads_is_reported(cluster: Cluster) -> None:
    public = make(
        "gateway.networking.k8s.io/v1", "Gateway", "public", "kubeflow",
        spec={
            "gatewayClassName": "istio",
            "addresses": [{"type": "Hostname", "value": "gw.istio-system.svc"}],
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    )  # fmt: skip
    routing = Routing(domain=DOMAIN, gateway_api="kubeflow/public")
    with served(cluster, IRIS), there(cluster, public):
        live = cluster.get(cluster.resource(llm_inference_service(LLAMA)), LLAMA.name, "bob")
        route = llm_route(LLAMA, routing)
        owner = {"apiVersion": live["apiVersion"], "kind": live["kind"], "name": LLAMA.name}
        route["metadata"]["ownerReferences"] = [{**owner, "uid": live["metadata"]["uid"]}]
        with there(cluster, route):
            (finding,) = found(cluster)["model-gateways"]
            check(finding.sentence, "Gateway kubeflow/public", "bob", reason=finding.check)
            assert "model-gateways" not in found(cluster, WITH_LLMS)
        renamed = json.loads(json.dumps(route).replace(MODEL_HEADER, "X-Model"))
        with there(cluster, renamed):
            (finding,) = found(cluster, WITH_LLMS)["model-routes"]
            assert finding.level is Level.FAILURE
            check(finding.sentence, "HTTPRoute bob/llama", "X-Model", reason=finding.check)


def pod(name: str, namespace: str, *sidecars: str, **labels: str) -> Object:
    containers = [{"name": each, "image": "i"} for each in ("app", *sidecars)]
    document = make("v1", "Pod", name, namespace, spec={"containers": containers})
    document["metadata"]["labels"] = {key.replace("__", "/").replace("_", "."): value
                                      for key, value in labels.items()}  # fmt: skip
    return document


def policy(namespace: str, name: str, rule: Object) -> Object:
    spec: Object = {"action": "ALLOW", "rules": [rule]}
    return make("security.istio.io/v1", "AuthorizationPolicy", name, namespace, spec=spec)


def test_ways_around_the_gateway_are_reported_by_namespace(cluster: Cluster) -> None:
    model = {"serving_kserve_io__inferenceservice": "iris"}
    activator = "cluster.local/ns/knative-serving/sa/controller"
    knative = (
        pod("iris-0", "alice", "istio-proxy", **model),
        policy("knative-serving", "activator-service", {}),
        pod("activator-0", "knative-serving", "istio-proxy", app="activator"),
        policy("alice", "knative", {"from": [{"source": {"principals": [activator]}}]}),
    )
    with served(cluster, IRIS), there(cluster, *knative):
        ((finding,),) = found(cluster).values()
    check(
        finding.sentence, "Knative's activator", "alice", "activator-service", reason="model-pods"
    )
    without = [pod(f"m-{place}", place, **model) for place in ("alice", "bob")]
    opened = (policy("bob", "allow-isvc", {}), pod("iris-0", "bob", "istio-proxy", **model))
    with served(cluster, IRIS), there(cluster, *without, *opened):
        (finding,) = found(cluster)["model-pods"]
    by_policy, no_sidecar = finding.fact.split("\n")
    check(by_policy, "every Pod", "of bob", "allow-isvc", reason="model-pods")
    check(no_sidecar, "every Pod", "of alice and bob", "sidecar", reason="model-pods")


def binding(name: str, role: str, subject: str, namespace: str | None = None) -> Object:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": subject}
    if subject.count("/"):
        place, _, account = subject.partition("/")
        user = {"kind": "ServiceAccount", "namespace": place, "name": account}
    version = "rbac.authorization.k8s.io/v1"
    return make(version, kind, name, namespace, roleRef=reference, subjects=[user])


def test_who_may_write_routes_is_a_few_lines_for_many_profiles(
    plane: ControlPlane, cluster: Cluster
) -> None:
    profiles = [plane.make_namespace("profile") for _ in range(30)]
    owners = [binding("namespaceAdmin", "kubeflow-edit", f"{each}@x", each) for each in profiles]
    readers = [binding("reader", "kubeflow-view", "reader@x", profiles[0])]
    routes = {"apiGroups": ["networking.istio.io"], "resources": ["*"], "verbs": ["*"]}
    istio = make("rbac.authorization.k8s.io/v1", "ClusterRole", "routes", rules=[routes])
    controller = binding("knative", "routes", "knative-serving/controller")
    with there(cluster, istio, *owners, *readers, controller, binding("ops", "routes", "ops@x")):
        ((finding,),) = found(cluster).values()
    assert finding.level is Level.WARNING
    _, of_profiles, people, accounts = finding.fact.split("\n")
    assert all(word in of_profiles for word in ("kubeflow-edit", "27 more", "LLMInferenceServices"))
    assert ("User ops@x" in people, "knative-serving/controller" in accounts) == (True, True)
    check(finding.sentence, reason=finding.check, hide=r"(?<=profile-)\w{8}")


def test_the_right_that_kubeflows_roles_lack_is_added_by_the_commands_in_the_hint(
    plane: ControlPlane, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    ((finding,),) = found(cluster, WITH_LLMS).values()
    assert finding.level is Level.WARNING
    check(finding.sentence, f"get llminferenceservices.{KSERVE}", reason=finding.check)
    for line in finding.hint.partition(": ")[2].split(" && "):
        output_of(*shlex.split(line))
    eventually("it is aggregated", lambda: "model-roles" not in found(cluster, WITH_LLMS))
    plane.admin.delete(f"{RBAC}/clusterroles/daypass-get-llminferenceservices")


def test_a_login_that_may_call_every_model_is_a_finding_unless_it_is_meant(
    cluster: Cluster,
) -> None:
    login = TWO.replace("    audience: serving\n", "    audience: serving\n    login: keep\n")
    for at in (cluster, None):
        (finding,) = found(at, login)["model-sessions"]
        check(finding.sentence, "gates.serving.login", reason=finding.check)
        meant = login.replace("login: keep", "login: keep\n    loginMayCallModels: true")
        assert "model-sessions" not in found(at, meant)


def gates_objects(whole: dict[tuple[str, str, str], tuple[str, str]], gate: str) -> set[str]:
    """The objects of a gate at its gateway, and their versions."""
    return {
        f"{kind} {version}"
        for (kind, namespace, name), version in whole.items()
        if (namespace, name) == ("istio-system", f"{GATE}{gate}")
    }


def test_a_second_gate_is_added_and_removed_without_touching_the_first(cluster: Cluster) -> None:
    apply(cluster, ONE)
    first = gates_objects(everything(cluster), "")
    assert first
    planned = plan(cluster, TWO)
    assert not planned.removals
    assert not planned.widened
    changed = {(each.ref.kind, each.ref.where) for each in planned.to_apply if each.live}
    assert not {where for _, where in changed} & {f"istio-system/{GATE}"}, changed
    execute(planned)
    assert gates_objects(everything(cluster), "") == first
    assert len(gates_objects(everything(cluster), ".serving")) == len(first)
    apply(cluster, ONE)
    assert gates_objects(everything(cluster), "") == first
    assert not gates_objects(everything(cluster), ".serving")


def publish(cluster: Cluster, config: Config, gates: Sequence[str]) -> None:
    """What the watch publishes, to these gates."""
    known = published((), shards=CLUSTER_SHARDS)
    for number, part in enumerate(known.shards):
        cluster.apply(shard_config_map(number, part, "daypass", room=1))
    cluster.apply(denials_config_map(known.denials, "daypass"))
    for engine in engines_of(config):
        if engine.name in gates:
            objects = [engine.published_object(name, known) for name in NAMES]
            for each in [engine.keys_object(ISSUER, "{}"), *objects]:
                cluster.apply(each)


def test_an_apply_waits_until_every_gate_has_what_is_published(cluster: Cluster) -> None:
    apply(cluster, TWO)
    config = config_of(TWO)
    publish(cluster, config, ["default"])
    with raises(NotReadyError, match="66 of 132 objects.*serving"):
        wait_for_publication(Waiter(cluster, 0), config)
    publish(cluster, config, ["serving"])
    wait_for_publication(Waiter(cluster, 0), config)
    # Without the second gate, what was published to it goes.
    done = apply(cluster, ONE)
    assert not [each for each in named(everything(cluster)) if each[2].endswith(".serving")]
    assert done.removed >= 68
    remove(cluster)
    assert not [each for each in named(everything(cluster)) if each[2].startswith(f"{GATE}-cred")
                and each[1] == "istio-system"]  # fmt: skip
