"""What the real kubectl can do at the embedded API server, as docs/how-to/one-machine.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import programs
from support.up import Up
from support.up_embedded import fixed_config

CONFIG_MAP = """apiVersion: v1
kind: ConfigMap
metadata: {name: map, namespace: team}
data: {a: b, c: d}
"""
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("embedded")
    (folder / "map.yaml").write_text(CONFIG_MAP)
    (folder / "changed.yaml").write_text(CONFIG_MAP.replace("a: b", "a: c"))
    (folder / "unknown.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\ndat: {a: b}\n"
    )
    with Up(folder, fixed_config()) as running:
        yield running


def run(up: Up, line: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(up.folder),
        "KUBECONFIG": str(up.ready["kubeconfig"]),
    }  # fmt: skip
    return programs.run(*line.split(), folder=up.folder, environment=variables)


WORKS = (
    "kubectl create namespace team", "kubectl create serviceaccount bot -n team",
    "kubectl create secret generic s -n team --from-literal=a=b",
    "kubectl create configmap c -n team --from-literal=a=b",
    "kubectl create role r -n team --verb=create --resource=serviceaccounts/token",
    "kubectl create rolebinding r -n team --role=r --serviceaccount=team:bot",
    "kubectl create clusterrole embedded --verb=get --resource=secrets",
    "kubectl create clusterrolebinding embedded --clusterrole=embedded --user=u",
    "kubectl create token bot -n team --bound-object-kind Secret --bound-object-name s",
    "kubectl auth whoami", "kubectl auth can-i get secrets -n team",
    "kubectl apply -f map.yaml", "kubectl apply -f changed.yaml", "kubectl diff -f changed.yaml",
    "kubectl apply --server-side --force-conflicts -f map.yaml", "kubectl replace -f changed.yaml",
    "kubectl label namespace team a=b", "kubectl annotate serviceaccount bot -n team a=b",
    "kubectl patch configmap map -n team -p {\"data\":{\"x\":\"y\"}}",
    "kubectl set subject rolebinding r -n team --user=u",
    "kubectl get namespaces,serviceaccounts,secrets,rolebindings -A -o wide",
    "kubectl describe namespace team", "kubectl describe configmap map -n team",
    "kubectl describe serviceaccount bot -n team", "kubectl describe rolebinding r -n team",
    "kubectl delete configmap map -n team", "kubectl delete namespace team",
    "daypass identity create bot -n other --create-namespace", "kubectl get namespace other",
)  # fmt: skip


def test_the_kubectl_commands_of_the_page_work(embedded: Up) -> None:
    for line in WORKS:
        done = run(embedded, line)
        assert done.returncode == 0, (line, done.stderr)


def test_an_apply_changes_what_kubectl_then_shows(embedded: Up) -> None:
    def data() -> str:
        return run(embedded, "kubectl get configmap map -o jsonpath={.data}").stdout

    (embedded.folder / "here.yaml").write_text(CONFIG_MAP.replace(", namespace: team", ""))
    assert run(embedded, "kubectl apply -f here.yaml").returncode == 0
    assert json.loads(data()) == {"a": "b", "c": "d"}
    changed = CONFIG_MAP.replace(", namespace: team", "").replace("a: b, ", "")
    (embedded.folder / "here.yaml").write_text(changed)
    assert "configured" in run(embedded, "kubectl apply -f here.yaml").stdout
    assert json.loads(data()) == {"c": "d"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("kubectl apply -f unknown.yaml", 'unknown field "dat"'),
        ("kubectl get pods", 'have a resource type "pods"'),
        ("kubectl get namespaces --as=alice", "does not impersonate"),
        ("kubectl patch namespace default --type=json -p [{\"op\":\"remove\",\"path\":\"/x\"}]",
         "application/merge-patch+json"),
        ("kubectl patch serviceaccount default -p {\"imagePullSecrets\":[{\"name\":\"a\"}]}",
         "kubectl apply --server-side"),
        ("kubectl auth can-i --list", "could not find the requested resource"),
    ],
)  # fmt: skip
def test_what_does_not_work_gets_one_sentence(embedded: Up, line: str, reason: str) -> None:
    done = run(embedded, line)
    assert done.returncode == 1
    assert reason in done.stderr
