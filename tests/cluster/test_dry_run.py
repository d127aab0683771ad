"""`--dry-run` of every command that writes: nothing changes in the cluster, in files or in git."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tools.reference.commands import command_parsers

from daypass.cli import main
from daypass.identity.accounts import IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS
from support.controlplane import ControlPlane
from support.deploying import BOTH, GATE, ONLY_EKF, QUICK_APPLY, everything, prepare, settle
from support.kubeflow import install_kubeflow, make_profile
from support.lifecycle import make, renew
from support.messages import line_with
from support.repositories import git, git_init

BOT, OLD = IdentityName(namespace="team", name="bot"), IdentityName(namespace="team", name="old")
DOOR = "--door https://ekf.example.com/kubernetes --audience gate.example.com"
TRUST = "--issuer https://ci.example.com --subject job --source github"
LINES = (
    "apply",
    "remove",
    "init new --host a.example.com --front ingress-nginx --tls secret:x --audience g",
    "gate deny --jti 0b2c8d0e-5d0f",
    "gate deny --jti denied --undo",
    f"identity create bot -n team {DOOR} --credentials-out bot.json",
    f"identity create new -n team {DOOR}",
    f"identity create new -n team {DOOR} --credentials-out -",
    f"identity create new -n nowhere {DOOR} --create-namespace",
    f"identity create new -n unlabelled {DOOR}",
    "identity authorize bot -n team --in PROFILE --role view",
    "identity unauthorize bot -n team --everywhere",
    "identity rotate bot -n team --credentials-out bot.json",
    "identity rotate --all -A --credentials-out folder",
    "identity revoke bot -n team",
    "identity delete --expired -n team",
    "identity delete bot -n team",
    f"identity federate ci -n team {DOOR} {TRUST} --credentials-out ci.json",
)
"""Command lines that would change something, at least one for each command that writes."""
WRITING = {
    path: parser._option_string_actions["--dry-run"]
    for path, parser in command_parsers().items()
    if "--dry-run" in parser._option_string_actions
}
"""The option of each command that writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """A cluster with all that the lines change, and a repository."""

    plane: ControlPlane
    cluster: Cluster
    folder: Path
    profile: str

    def state(self) -> tuple[object, ...]:
        files = (path for path in self.folder.rglob("*") if ".git" not in path.parts)
        return (
            everything(self.cluster),
            {path: path.read_bytes() if path.is_file() else b"" for path in files},
            git(self.folder, "rev-parse", "HEAD"),
            git(self.folder, "status", "--porcelain", "--untracked-files=all"),
        )


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, (install_kubeflow,), "istio-system")


@pytest.fixture(scope="module")
def env(
    plane: ControlPlane, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Env]:
    with pytest.MonkeyPatch.context() as patch:
        repository = tmp_path_factory.mktemp("repository")
        git_init(repository)
        patch.chdir(repository)
        patch.setenv("KUBECONFIG", str(plane.kubeconfig))
        Path("daypass.yaml").write_text(BOTH + GATE)
        profile = make_profile(plane)
        for name in ("team", "unlabelled"):
            metadata = {"name": name}
            cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        assert main([*QUICK_APPLY, "--yes"]) == 0
        assert main(["gate", "watch", "--once"]) == 0
        assert main(["gate", "deny", "--jti", "denied", "--no-wait"]) == 0
        make(cluster, BOT)
        authorize = f"identity authorize bot -n team --in {make_profile(plane)} --role view"
        assert main(authorize.split()) == 0
        renew(cluster, BOT)
        make(cluster, OLD, deadline="2026-01-01T00:00:00Z")
        assert main(shlex.split(f"identity create bot -n team {DOOR} --force --no-wait")) == 0
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--message", "Deploy")
        # A plan that creates, changes and removes.
        changed = ONLY_EKF.replace("ekf.example.com", "other.example.com")
        Path("daypass.yaml").write_text(changed + GATE)
        settle(cluster)
        yield Env(plane=plane, cluster=cluster, folder=repository, profile=profile)


@pytest.fixture
def here(env: Env, monkeypatch: pytest.MonkeyPatch) -> Env:
    monkeypatch.chdir(env.folder)
    monkeypatch.setenv("KUBECONFIG", str(env.plane.kubeconfig))
    monkeypatch.setenv("XDG_CACHE_HOME", str(env.folder / "cache"))
    return env


def name_in(line: str) -> tuple[str, ...]:
    """The command that a line calls, as `command_parsers` names it."""
    words = line.split()
    return max((each for each in command_parsers() if words[: len(each)] == list(each)), key=len)


def test_every_command_that_writes_has_a_line() -> None:
    assert {name_in(line) for line in LINES} == set(WRITING)


@pytest.mark.parametrize("line", LINES)
def test_a_dry_run_changes_nothing_and_shows_what_would_be_done(
    here: Env, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = here.state()
    for mode in ("client", "server"):
        shows_what_would_be_done(here, line, mode, capsys)
    assert here.state() == before


def shows_what_would_be_done(
    here: Env, line: str, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(line.replace("PROFILE", here.profile))
    since = here.plane.audit_position()
    capsys.readouterr()
    code = main([*words, f"--dry-run={mode}"])
    out, err = capsys.readouterr()
    assert not re.search(r"\beyJ[\w-]+\.", out + err), "a token is printed"
    sent = here.plane.admin_writes(since=since)
    if mode not in (WRITING[name_in(line)].choices or ()):
        assert code == 2
        assert "--dry-run: 'server' is not one of client" in err
        return
    assert code == 0, err
    assert line_with(err, f"nothing was changed: --dry-run={mode}")
    assert re.search(r"^(daypass: )?would ", out + err, re.M), out + err
    if mode == "server":
        assert sent
    elif words[0] == "apply":  # its plan needs the API server
        assert all("dryRun=All" in each for each in sent)
    else:
        assert sent == []


@pytest.mark.parametrize("mode", ["client", "server"])
def test_the_objects_of_an_identity_that_exists_have_no_token(
    here: Env, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    line = f"identity create bot -n team {DOOR} --dry-run={mode} -o json"
    assert main(shlex.split(line)) == 0
    printed = json.loads(capsys.readouterr().out)["items"]
    (secret,) = [each for each in printed if each["kind"] == "Secret"]
    assert here.cluster.get(SECRETS, secret["metadata"]["name"], "team")["data"]["token"]
    assert not {"data", "stringData"} & secret.keys()
