"""`kubectl daypass` with the real kubectl, on a real API server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.admin_shell import AdminShell
from support.controlplane import ControlPlane
from support.lifecycle import make
from support.programs import output_of


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, plane: ControlPlane) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))


def kubectl(*words: str) -> list[str]:
    return output_of("kubectl", *words).splitlines()


def test_kubectl_runs_daypass_and_completes_its_commands(shell: AdminShell) -> None:
    make(shell.cluster, shell.bot)
    assert any(
        line.split()[1:2] == ["bot"] for line in kubectl("daypass", "identity", "list", "-A")
    )
    show, directive = kubectl("__complete", "daypass", "identity", "sh")
    assert (show.split()[0], directive) == ("show", ":4")
