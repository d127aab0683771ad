"""A control plane that does not start says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.controlplane.build import BuildError

from support.controlplane import ControlPlane


def test_missing_programs_are_reported_with_the_command_that_builds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BuildError, match="run: make controlplane"):
        ControlPlane.start(tmp_path / "plane")


def test_a_program_that_exits_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"kube-apiserver ended with 1; .*\n.*no-such-flag"):
        ControlPlane.start(tmp_path, extra_apiserver_args=["--no-such-flag"])
