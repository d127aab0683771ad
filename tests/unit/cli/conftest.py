"""A fake door, a cluster without a socket, and an isolated environment for commands."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli import main
from daypass.kube.cluster import Cluster
from support.authority import Authority
from support.embedded import EmbeddedCluster
from support.fake_door import Behaviour, FakeDoor, credentials_document, token_answer

OpenDoor = Callable[..., tuple[FakeDoor, Path]]
Run = Callable[..., tuple[str, str]]


def good_answer(number: int = 1, **changes: Any) -> bytes:
    """The response to a TokenRequest, issued now."""
    now = SYSTEM_CLOCK.unix()
    return token_answer(now=now, date=now, number=number, **changes)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("fake door authority")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home folder, and no environment variable that changes the result."""
    for name in list(os.environ):
        if name.upper().startswith(("DAYPASS_", "SSL_CERT_", "XDG_", "HTTP", "ALL_", "NO_PROXY")):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubeconfig of an API server that refuses connections."""
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    document = {"clusters": [cluster], "contexts": [context], "users": [user]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({**document, "current-context": "c"}))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))


@pytest.fixture
def open_door(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenDoor]:
    """Start a door with this script, and set DAYPASS_CREDENTIALS for it."""
    with ExitStack() as stack:

        def make(*script: bytes | Behaviour, **changes: object) -> tuple[FakeDoor, Path]:
            context = authority.context("127.0.0.1", days=30)
            door = stack.enter_context(FakeDoor(*(script or (good_answer(),)), context=context))
            changes.setdefault("certificateAuthority", authority.pem)
            file = tmp_path / "credentials.json"
            file.write_text(json.dumps(credentials_document(door.url, **changes)))
            file.chmod(0o600)
            monkeypatch.setenv("DAYPASS_CREDENTIALS", str(file))
            return door, file

        yield make


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedCluster:
    """The cluster of all commands, with the namespace `team`; they run in an empty folder."""
    embedded = EmbeddedCluster()
    embedded.make_namespace("team")
    monkeypatch.setattr(Cluster, "open", lambda *, dry_run, **_: embedded.open(dry_run=dry_run))
    monkeypatch.chdir(tmp_path)
    return embedded


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line, and return what it prints to stdout and stderr."""

    def run_command(line: str, *, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        ended = main(shlex.split(line))
        out, err = capsys.readouterr()
        assert ended == code, err
        return out, err

    return run_command
