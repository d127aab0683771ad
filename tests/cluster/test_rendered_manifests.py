"""Rendered manifests on a real API server: strict about fields, with Pod Security enforced.

They have an API server of their own, since some of them can exist only once in a cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass._core.kubernetes.objects import Object
from daypass.kube.cluster import Cluster
from daypass.render.manifests import FLOW_CONTROL as NAME
from support.admin import Answer, Document
from support.controlplane import ControlPlane
from support.crds import (
    install_cert_manager,
    install_envoy_gateway,
    install_istio,
    install_prometheus_operator,
)
from support.deadline import eventually
from support.deploying import apply_strictly
from support.manifest_cases import CASES, THERE, Case
from support.programs import output_of
from support.rendered import config_of, pod_of

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
FRONTS_NAMESPACES = (
    *("ingress-nginx", "istio-system", "istio-ingress", "infra", "cert-manager"),
    "envoy-gateway-system",
)


def prepare_plane(plane: ControlPlane) -> None:
    kinds = (install_istio, install_envoy_gateway, install_cert_manager)
    for install in (*kinds, install_prometheus_operator):
        install(plane)
    for name in FRONTS_NAMESPACES:
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})


Apply = Callable[[Object], Answer]


@pytest.fixture(scope="module")
def apply(plane: ControlPlane, cluster: Cluster) -> Apply:
    return partial(apply_strictly, plane, cluster)


def applied(apply: Apply, case: Case) -> dict[str, Document]:
    """Apply all objects of a case in order; return the responses by kind and name."""
    answers = {}
    for value in case.objects():
        answer = apply(value)
        name = f"{value['kind']} {value['metadata']['name']}"
        assert answer.code in (200, 201), (name, answer.body)
        assert answer.warnings == [], name
        namespace = value["metadata"].get("namespace", "")
        answers[f"{name} {namespace}"] = answer.json
    return answers


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_object_is_applied_without_a_warning_and_a_second_time_unchanged(
    apply: Apply, case: Case
) -> None:
    first = applied(apply, case)
    second = applied(apply, case)
    versions = [
        {name: document["metadata"].get("generation", 1) for name, document in answers.items()}
        for answers in (first, second)
    ]
    assert versions[0] == versions[1]


def test_the_example_of_an_internal_authority_can_be_applied(apply: Apply) -> None:
    text = (Path(__file__).parents[2] / "examples" / "internal-authority.yaml").read_text()
    objects = list(yaml.safe_load_all(text))
    assert [apply(value).code for value in objects] == [201, 201, 201]
    issuer = objects[-1]["metadata"]["name"]
    assert config_of(THERE).door.certificate_issuer == issuer


def run_as_root(spec: Document) -> None:
    spec["securityContext"] |= {"runAsNonRoot": False, "runAsUser": 0}


def mount_the_host(spec: Document) -> None:
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})


@pytest.mark.parametrize("bend", [None, run_as_root, mount_the_host])
def test_pod_security_admits_the_door_and_no_pod_with_more_privileges(
    apply: Apply, plane: ControlPlane, bend: Callable[[Document], None] | None
) -> None:
    applied(apply, CASES["fronts"])
    pod = copy.deepcopy(pod_of(CASES["fronts"].objects()))
    if bend is not None:
        bend(pod["spec"])
    answer = plane.admin.request("POST", "/api/v1/namespaces/daypass/pods?dryRun=All", pod)
    if bend is None:
        assert answer.code == 201, answer.body
        spec = answer.json["spec"]
        assert not [volume for volume in spec["volumes"] if "projected" in volume], "no token"
    else:
        assert answer.code == 403
        assert 'violates PodSecurity "restricted' in answer.message


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kustomize_builds_the_rendered_objects_from_the_tree(case: Case, tmp_path: Path) -> None:
    for path, text in case.tree().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def built(folder: Path) -> list[Any]:
        return list(yaml.safe_load_all(output_of("kubectl", "kustomize", folder)))

    def key(value: Object) -> tuple[str, str, str]:
        return value["kind"], value["metadata"].get("namespace", ""), value["metadata"]["name"]

    assert sorted(built(tmp_path), key=key) == sorted(case.objects(), key=key)
    folders = [*(tmp_path / "domains").iterdir(), tmp_path / "base"]
    assert all(map(built, folders))


def test_the_priority_level_is_for_token_requests_only(apply: Apply, plane: ControlPlane) -> None:
    for document in CASES["fronts"].objects():
        if document["kind"] in ("FlowSchema", "PriorityLevelConfiguration"):
            assert apply(document).code in (200, 201)
    level = plane.admin.get(f"{FLOW}/prioritylevelconfigurations/{NAME}")["metadata"]["uid"]
    bot = plane.make_identity()
    system = plane.make_identity("kube-system", "daypass-test-bot")

    def seats(token: Any, method: str, path: str, body: Any = None) -> str:
        answer = plane.client(token).request(method, path, body)
        assert answer.code in (200, 201, 403), answer.body
        (uid,) = answer.all("x-kubernetes-pf-prioritylevel-uid")
        return uid

    def all_of(wanted: bool, *uids: str) -> bool:
        return all((uid == level) is wanted for uid in uids)

    eventually(
        "the API server knows the new level",
        lambda: all_of(True, seats(bot.token, "POST", bot.token_path, {})),
    )
    assert all_of(True, seats(None, "GET", bot.token_path))
    assert all_of(
        False,
        seats(system.token, "POST", system.token_path, {}),
        seats(bot.token, "GET", f"/api/v1/namespaces/{bot.namespace}/pods"),
        seats(None, "GET", "/readyz"),
    )
