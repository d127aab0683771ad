"""What the real kubectl can do at the embedded API server, as docs/how-to/one-machine.md says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.up import Up, running_up
from support.up_embedded import fixed_config

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("embedded")
    (folder / "team.yaml").write_text("{apiVersion: v1, kind: Namespace, metadata: {name: team}}")
    with running_up(folder, fixed_config()) as running:
        yield running


def run(up: Up, line: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(up.folder),
        "KUBECONFIG": str(up.ready["kubeconfig"]),
    }  # fmt: skip
    return subprocess.run(
        line.split(), cwd=up.folder, env=variables, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


def test_kubectl_reads_labels_deletes_and_applies_without_validation(embedded: Up) -> None:
    for line in (
        "kubectl apply --validate=false -f team.yaml", "kubectl label namespace team a=b",
        "kubectl get namespace team", "kubectl delete serviceaccount default -n team",
        "daypass identity create bot -n other --create-namespace", "kubectl get namespace other",
    ):  # fmt: skip
        done = run(embedded, line)
        assert done.returncode == 0, (line, done.stderr)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("kubectl create namespace third", "application/json"),
        ("kubectl auth whoami", "application/json"),
        ("kubectl apply -f team.yaml", "openapi"),
    ],
)
def test_kubectl_fails_where_it_sends_protobuf_or_needs_openapi(
    embedded: Up, line: str, reason: str
) -> None:
    done = run(embedded, line)
    assert done.returncode == 1
    assert reason in done.stderr
