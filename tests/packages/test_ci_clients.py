"""The GitHub Action and the GitLab component: their steps, run as the CI systems run them."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.bootstrap import ROOT

from agent.running import Door
from daypass._core.jwt import decode_unverified
from support.ci_jobs import PATH, GitHubJob, gitlab_job, oidc_of_the_runner
from support.fake_door import SENTINEL, credentials_document, long_lived_token
from support.issuer import Issuer

SUBJECT = "repo:org/app:ref:refs/heads/main"


class WatchedDoor(Door):
    """A door that notes, while a client waits, the command lines of all processes."""

    command_lines = b""

    def _behave(self, connection: socket.socket) -> None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.command_lines += process.read_bytes()
            except OSError:
                continue  # it has ended
        super()._behave(connection)

    def bearer(self) -> str:
        (line,) = [it for it in self.requests[-1].split(b"\r\n") if it.startswith(b"Authorization")]
        return line.decode().removeprefix("Authorization: Bearer ")


@pytest.fixture
def door() -> Iterator[WatchedDoor]:
    with WatchedDoor() as running:
        yield running


@pytest.fixture
def issuer() -> Issuer:
    return Issuer("https://token.actions.example")


@pytest.fixture
def job(tmp_path: Path) -> GitHubJob:
    return GitHubJob.in_folder(tmp_path)


def federated(door: Door, source: dict[str, object], folder: Path, umask: int = 0o22) -> Path:
    """A credentials file as `identity federate` writes it, checked out by git with this umask."""
    file = folder / "ci.json"
    identity = {"namespace": "team", "serviceAccount": "ci"}
    file.write_text(json.dumps(credentials_document(door.url, token=source, **identity)))
    file.chmod(0o666 & ~umask)
    return file


def subject(token: str) -> tuple[object, object]:
    claims = decode_unverified(token)[1]
    return claims["sub"], claims["aud"]


def test_a_github_job_exchanges_its_own_token(
    job: GitHubJob, door: WatchedDoor, issuer: Issuer, wheel: Path
) -> None:
    federated(door, {"github": {"audience": "the-door"}}, job.checkout)
    with oidc_of_the_runner(issuer, SUBJECT) as variables:
        job.environment |= variables
        assert job.uses(ROOT, credentials="ci.json", package=str(wheel), lifetime="30m") == 0, (
            job.log
        )
    assert subject(door.bearer()) == (SUBJECT, "the-door")
    assert door.bodies()[-1]["spec"]["expirationSeconds"] == 1800
    file = Path(job.outputs["token-file"])
    assert file == Path(job.environment["DAYPASS_ACCESS_TOKEN_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert decode_unverified(file.read_text().strip())[1]["jti"] == "1"
    assert job.run('command -v daypass; cat "$DAYPASS_ACCESS_TOKEN_FILE"') == 0
    assert file.read_text().strip() not in job.log
    assert "/daypass/bin/daypass" in job.log


def test_a_github_job_exchanges_a_long_lived_token_that_nobody_sees(
    job: GitHubJob, door: WatchedDoor, wheel: Path
) -> None:
    job.environment |= {"DAYPASS_DOOR": door.url, "DAYPASS_AUDIENCE": "gate.example.com"}
    assert job.uses(ROOT, token=long_lived_token(), package=str(wheel)) == 0, job.log
    assert door.bearer() == long_lived_token()
    assert b"/daypass" in door.command_lines
    assert SENTINEL.encode() not in door.command_lines
    assert job.run("env; cat $DAYPASS_TOKEN_FILE") == 0
    assert SENTINEL not in job.log
    assert long_lived_token() in job.masks
    kept = Path(job.environment["DAYPASS_TOKEN_FILE"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_action_installs_its_own_version_by_default(job: GitHubJob, door: WatchedDoor) -> None:
    job.environment |= {"DAYPASS_DOOR": door.url, "DAYPASS_AUDIENCE": "gate.example.com"}
    assert job.uses(ROOT, token=long_lived_token()) == 0, job.log


@pytest.mark.parametrize("name", ["credentials", "token"])
def test_an_input_of_several_lines_sets_no_variable_and_is_not_printed(
    job: GitHubJob, wheel: Path, name: str
) -> None:
    value = "first\nLD_PRELOAD=second"
    (job.checkout / value).write_text("{}")
    assert job.uses(ROOT, package=str(wheel), **{name: value}) == 2
    assert "must be one line each" in job.log
    assert "LD_PRELOAD" not in job.log
    assert "LD_PRELOAD" not in job.environment


def test_a_token_that_ends_with_a_line_feed_is_masked(
    job: GitHubJob, door: WatchedDoor, wheel: Path
) -> None:
    job.environment |= {"DAYPASS_DOOR": door.url, "DAYPASS_AUDIENCE": "gate.example.com"}
    assert job.uses(ROOT, token=f"{long_lived_token()}\n", package=str(wheel)) == 0, job.log
    assert long_lived_token() in job.masks


def test_a_github_job_without_the_permission_fails_with_what_to_add(
    job: GitHubJob, door: WatchedDoor, wheel: Path
) -> None:
    federated(door, {"github": {"audience": "the-door"}}, job.checkout)
    assert job.uses(ROOT, credentials="ci.json", package=str(wheel)) != 0
    assert "id-token: write" in job.log
    assert not door.requests
    assert "DAYPASS_ACCESS_TOKEN_FILE" not in job.environment


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_gitlab_job_exchanges_its_own_token(
    door: WatchedDoor, issuer: Issuer, wheel: Path, tmp_path: Path, shell: str
) -> None:
    federated(door, {"variable": "DAYPASS_ID_TOKEN"}, tmp_path, umask=0)  # as GitLab's runner does
    script = ['stat -c "%a" "$DAYPASS_ACCESS_TOKEN_FILE"', "command -v daypass", "umask"]
    values = {"package": str(wheel), "token-audience": "the-door", "image": "python"}
    job, whole = gitlab_job(ROOT / "templates" / "daypass.yml", script, **values)
    audience = job["id_tokens"]["DAYPASS_ID_TOKEN"]["aud"]
    own = issuer.token(SUBJECT, audience).reveal()
    if shell == "sh":
        whole = whole.replace("set -eo pipefail", "set -e")
    done = subprocess.run(
        [shell, "-c", whole], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=600,
        env={
            "PATH": PATH, "HOME": str(tmp_path), "TMPDIR": str(tmp_path),
            "DAYPASS_ID_TOKEN": own, **job["variables"],
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mode, program, mask = done.stdout.splitlines()
    assert (mode, Path(program).name, int(mask, 8)) == ("600", "daypass", os.umask(0o22))
    assert subject(door.bearer()) == (SUBJECT, "the-door")
    assert own.encode() not in door.command_lines
    assert own not in done.stdout + done.stderr
