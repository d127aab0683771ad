"""The door in front of a real kube-apiserver, as `daypass up` runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from daypass.kube.cluster import Cluster
from support import admin_shell
from support.admin_shell import AdminShell
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deploying import BOTH, clear, write
from support.identities import Identity
from support.up import Up, up_config


@pytest.fixture(scope="module")
def plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """The control plane that all share, or that of a module alone, which has `prepare_plane`: that
    is called with it first.
    """
    prepare = getattr(request.module, "prepare_plane", None)
    if prepare is None:
        yield request.getfixturevalue("control_plane")
        return
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        prepare(running)
        yield running


@pytest.fixture(scope="module")
def identity(plane: ControlPlane) -> Identity:
    return plane.make_identity()


@pytest.fixture(scope="module")
def up(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A door that the tests of a module share."""
    with Up(tmp_path_factory.mktemp("up"), up_config(plane)) as running:
        yield running


def write_credentials(file: Path, up: Up, identity: Identity, **settings: object) -> None:
    """A file for an identity that uses the door of `up`, as an administrator hands it over."""
    document = {
        "type": "daypass",
        "version": 1,
        "door": up.door,
        "certificateAuthority": up.authority_file.read_text(),
        "token": identity.token.reveal(),
        **settings,
    }
    file.touch(0o600)
    file.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """The module's own plane for an admin."""
    with admin_cluster(plane) as opened:
        yield opened


@pytest.fixture
def cleared(cluster: Cluster) -> Iterator[None]:
    """What was applied is removed afterwards."""
    yield
    clear(cluster)


@pytest.fixture
def folder(
    cleared: None, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the config of both domains, where `daypass` finds the module's own plane."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    write(tmp_path, BOTH)
    return tmp_path


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a daypass command in `folder`; see `admin_shell.run`."""
    return partial(admin_shell.run, capsys)


@pytest.fixture
def door() -> Up | None:
    """The door that identities made at `shell` use; None is one that does not exist."""
    return None


@pytest.fixture
def shell(
    plane: ControlPlane, door: Up | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[AdminShell]:  # fmt: skip
    """Where an administrator types commands, against the module's own plane."""
    with admin_shell.admin_shell(plane, door, tmp_path, monkeypatch, capsys) as shell:
        yield shell
