"""The door in front of a real kube-apiserver, as `daypass up` runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass.kube.cluster import Cluster
from support.controlplane import ControlPlane
from support.deploying import BOTH, write
from support.desk import Desk, desk_at
from support.up import Up, running_up, up_config


@pytest.fixture(scope="module")
def up(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A door that the tests of a module share."""
    with running_up(tmp_path_factory.mktemp("up"), up_config(control_plane)) as running:
        yield running


@pytest.fixture
def folder(
    cluster: Cluster, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the config of both domains, where `daypass` finds the module's own plane."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    write(tmp_path, BOTH)
    return tmp_path


@pytest.fixture
def desk(
    plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    """Where an administrator types commands, against the module's own plane."""
    with desk_at(plane, None, tmp_path, monkeypatch, capsys) as desk:
        yield desk
