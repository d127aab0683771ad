"""The API server takes each Kubernetes object of the documentation, with no unknown field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.docs.pages import ROOT, Block, all_pages

from docs.data import OBJECT, documents_in, kind_of
from support import crds
from support.controlplane import ControlPlane
from support.programs import run

INSTALL = (
    crds.install_cert_manager, crds.install_envoy_gateway, crds.install_gateway_api,
    crds.install_istio,
)  # fmt: skip
OTHERS = ("apiserver.config.k8s.io/", "kustomize.config.k8s.io/")
"""Read from files by the API server and by kustomize."""

NOT_HERE = ("examples/flux.yaml", "examples/argo-cd.yaml", "examples/daypass.yaml")
"""Flux and Argo CD have kinds of their own; tests of the config read the last one."""


def found() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with its place; a `List` as its items."""
    blocks = [block for page in all_pages() for block in page.blocks if block.language == "yaml"]
    for file in sorted((ROOT / "examples").glob("*.yaml")):
        place = str(file.relative_to(ROOT))
        if place not in NOT_HERE:
            blocks.append(Block(place=place, language="yaml", code=file.read_text()))
    for block in blocks:
        for document in documents_in(block):
            if kind_of(block, document) == OBJECT:
                yield block.place, document


OBJECTS = [(place, it) for place, it in found() if not it["apiVersion"].startswith(OTHERS)]
FILES = [(place, it) for place, it in found() if it["apiVersion"].startswith(OTHERS)]


def names(cases: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [f"{place}-{document['kind']}" for place, document in cases]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """The shared control plane, with the kinds and namespaces of the documentation."""
    for install in INSTALL:
        install(control_plane)
    for namespace in {it["metadata"].get("namespace", "default") for _, it in OBJECTS}:
        document = {"metadata": {"name": namespace}}
        control_plane.admin.apply(f"/api/v1/namespaces/{namespace}", {
            "apiVersion": "v1", "kind": "Namespace", **document,
        })  # fmt: skip
    for pod in (it for _, it in OBJECTS if it["kind"] == "Pod"):
        # Pods of an example use its ServiceAccounts.
        namespace, name = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        metadata = {"name": name, "namespace": namespace}
        control_plane.admin.apply(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}", {
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
        })  # fmt: skip
    return control_plane


def refusal(plane: ControlPlane, document: dict[str, Any]) -> str:
    """Return why the API server would not take this; empty if it would."""
    done = run(
        "kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-",
        given=json.dumps(document),
        environment={
            "KUBECONFIG": str(plane.kubeconfig),
            "KUBECACHEDIR": str(Path(plane.kubeconfig).with_name("kubectl-cache")),
        },
    )  # fmt: skip
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(("place", "document"), OBJECTS, ids=names(OBJECTS))
def test_the_api_server_takes_an_object(
    place: str, document: dict[str, Any], plane: ControlPlane
) -> None:
    assert not refusal(plane, document), place


def complaint(document: dict[str, Any], folder: Path) -> str:
    """Return what kustomize or the API server has against a file; empty for nothing."""
    if document["kind"] == "Kustomization":
        # What it builds on is not here: its own fields are read all the same.
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({**document, "resources": []}))
        return run("kubectl", "kustomize", folder).stderr
    file = folder / "authentication.yaml"
    file.write_text(yaml.safe_dump(document))
    try:
        arguments = [f"--authentication-config={file}"]
        with ControlPlane.start(folder / "plane", extra_apiserver_args=arguments):
            return ""
    except RuntimeError as error:
        return str(error)


@pytest.mark.parametrize(("place", "document"), FILES, ids=names(FILES))
def test_a_file_is_one_that_its_program_reads(
    place: str, document: dict[str, Any], tmp_path: Path
) -> None:
    assert not complaint(document, tmp_path), place
