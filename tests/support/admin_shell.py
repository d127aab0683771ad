"""Where an administrator types commands: a folder, a namespace of a real cluster, and a door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from daypass.cli import main
from daypass.client.credentials import Credentials
from daypass.identity.accounts import IdentityName
from daypass.kube.cluster import Cluster
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.lifecycle import GATE
from support.up import Up


def run(output: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    """Run a daypass command, which ends with `code`; return stdout and stderr."""
    output.readouterr()
    ended = main(list(words))
    out, err = output.readouterr()
    assert ended == code, err
    return out, err


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminShell:
    """Commands run in `folder`, against `plane`; identities are made in `namespace`."""

    plane: ControlPlane
    cluster: Cluster
    namespace: str
    folder: Path
    output: pytest.CaptureFixture[str]
    door: tuple[str, ...]

    @property
    def bot(self) -> IdentityName:
        return IdentityName(namespace=self.namespace, name="bot")

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        return run(self.output, *words, code=code)

    def identity(self, verb: str, *words: str, code: int = 0) -> tuple[str, str]:
        return self.run("identity", verb, "bot", "-n", self.namespace, *words, code=code)

    def create(self, *words: str) -> tuple[str, str]:
        return self.identity("create", *self.door, "--audience", GATE, *words)

    def credentials(self, file: str = "bot.json") -> Credentials:
        return Credentials.from_file(self.folder / file)

    def token(self, file: str = "bot.json") -> Secret:
        """The long-lived token in credentials that were written."""
        return Secret(json.loads((self.folder / file).read_text())["token"])


@contextmanager
def admin_shell(
    plane: ControlPlane,
    up: Up | None,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: pytest.CaptureFixture[str],
) -> Iterator[AdminShell]:
    """A shell in a new namespace; its door is that of `up`, or (None) one that does not exist."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    door: tuple[str, ...] = ("--door", "https://ekf.example.com/kubernetes")
    if up is not None:
        door = ("--door", up.door, "--certificate-authority", str(up.authority_file))
    with admin_cluster(plane) as cluster:
        yield AdminShell(
            plane=plane, cluster=cluster, namespace=plane.make_namespace(), folder=folder,
            output=output, door=door,
        )  # fmt: skip
