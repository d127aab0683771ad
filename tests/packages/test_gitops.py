"""kustomize, and the examples for Argo CD and Flux, on a real API server.

The controllers of Argo CD and Flux do not run here: the API server checks their objects against
their own definitions.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass._core.kubernetes.objects import Object
from daypass.deploy.repository import write
from daypass.kube.cluster import Cluster
from support.closure import Identity, identity
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_cert_manager, install_gitops, install_istio
from support.deploying import apply_strictly, prepare
from support.manifest_cases import Case

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = Case(text=(EXAMPLES / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        kinds = (install_istio, install_cert_manager, install_gitops)
        prepare(running, kinds, "istio-system", "argocd", "flux-system")
        yield running


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    with admin_cluster(plane) as opened:
        yield opened


def by_key(objects: list[Object]) -> dict[Identity, Object]:
    return {identity(value): value for value in objects}


def examples(name: str) -> list[Object]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


@pytest.mark.parametrize("name", ["argo-cd.yaml", "flux.yaml"])
def test_the_examples_fit_the_definitions_of_their_controllers(
    name: str, plane: ControlPlane, cluster: Cluster
) -> None:
    for value in examples(name):
        answer = apply_strictly(plane, cluster, value)
        assert answer.code == 201, answer.body
        assert answer.warnings == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with the tree of examples/cluster.yaml in deploy/, on the branch main."""
    folder = tmp_path / "deployments"
    write(folder / "deploy", EXAMPLE.tree())
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "deploy"],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "Deploy"],
    ):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return folder


def kustomized(folder: Path, kustomization: dict[str, Any]) -> list[Object]:
    folder.mkdir(exist_ok=True)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("part", ["", "/base", "/gate", "/domains/kubeflow"])
def test_the_tree_is_a_remote_base_of_kustomize(
    repository: Path, part: str, tmp_path: Path
) -> None:
    resource = f"file://{repository}//deploy{part}?ref=main"
    found = by_key(kustomized(tmp_path / "overlay", {"resources": [resource]}))
    expected = by_key(EXAMPLE.objects())
    assert found.items() <= expected.items()
    assert found
    assert part or found == expected


def test_the_waves_of_argo_cd_put_the_policy_first_and_what_publishes_last(
    repository: Path, tmp_path: Path
) -> None:
    (application,) = examples("argo-cd.yaml")
    source = application["spec"]["source"]
    resources = {"resources": [f"../{repository.name}/{source['path']}"]}
    before = kustomized(tmp_path / "before", resources)
    after = by_key(kustomized(tmp_path / "after", {**resources, **source["kustomize"]}))
    waves: dict[str, set[str]] = {}
    for each, value in by_key(before).items():
        changed = after[each]
        wave = changed["metadata"].get("annotations", {}).pop("argocd.argoproj.io/sync-wave", "0")
        waves.setdefault(wave, set()).add(value["kind"])
        if not changed["metadata"].get("annotations", True):
            del changed["metadata"]["annotations"]
        assert changed == value
    assert waves["-1"] == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert waves["1"] == {"VirtualService"}
    assert "Deployment" in waves["0"]


@pytest.mark.parametrize("metrics", ["", "metrics: {alerts: true}\n"], ids=["plain", "metrics"])
def test_flux_applies_each_part_of_the_tree_after_what_it_depends_on(metrics: str) -> None:
    text = (EXAMPLES / "flux.yaml").read_text()
    if metrics:
        text = re.sub(
            r"^# ---\n(?:# .*\n)+", lambda part: part[0].replace("# ", ""), text, flags=re.M
        )
    parts = [it for it in yaml.safe_load_all(text) if it["kind"] == "Kustomization"]
    tree = Case(text=EXAMPLE.text + metrics).tree()
    seen: list[str] = []
    for part in parts:
        spec = part["spec"]
        assert f"{spec['path'].removeprefix('./deploy/')}/kustomization.yaml" in tree
        assert {each["name"] for each in spec.get("dependsOn", ())} <= set(seen)
        assert spec["wait"] is True
        seen.append(part["metadata"]["name"])
    paths = {part["spec"]["path"].removeprefix("./deploy/") for part in parts}
    assert paths == set(yaml.safe_load(tree["kustomization.yaml"])["resources"])
