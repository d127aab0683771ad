"""The GitHub Action and the GitLab component: their steps, run as the CI systems run them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tools.bootstrap import ROOT
from tools.docs.pages import all_pages

from agent.running import Door
from daypass._core.jwt import decode_unverified
from docs.data import documents_in
from support.authority import Authority
from support.ci_jobs import PATH, GitHubJob, gitlab_job, oidc_of_the_runner
from support.fake_door import SENTINEL, credentials_document, long_lived_token
from support.http_services import Handler, serving
from support.issuer import Issuer

(PAGE,) = (page for page in all_pages() if page.path.name == "ci-without-secrets.md")
SERVICE = "https://kubeflow.example.com"
ANCHOR = f"ci-daypass-anchor-{'a' * 20}"
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


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Action's first step installs."""
    job = GitHubJob.in_folder(tmp_path_factory.mktemp("installed"))
    job.uses(ROOT, package=str(wheel))  # its second step has no credentials
    folder = Path(job.environment["RUNNER_TEMP"]) / "daypass"
    assert (folder / "bin/daypass").exists(), job.log
    return folder


@pytest.fixture
def later(job: GitHubJob, installed: Path) -> GitHubJob:
    """A job in which the Action's first step has run."""
    folder = Path(job.environment["RUNNER_TEMP"]) / "daypass"
    folder.mkdir()
    (folder / "bin").symlink_to(installed / "bin")
    job.path.append(str(folder / "bin"))
    return job


def federated(door: Door, source: dict[str, object], folder: Path, umask: int = 0o22) -> Path:
    """A credentials file as `identity federate` writes it, checked out by git with this umask."""
    file = folder / "ci.json"
    identity = {"namespace": "team", "serviceAccount": "ci", "secretName": ANCHOR}
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
    assert door.bodies()[-1]["spec"]["boundObjectRef"]["name"] == ANCHOR
    file = Path(job.outputs["token-file"])
    assert file == Path(job.environment["DAYPASS_ACCESS_TOKEN_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert decode_unverified(file.read_text().strip())[1]["jti"] == "1"
    assert job.run('daypass token --lifetime 30m | cmp - "$DAYPASS_ACCESS_TOKEN_FILE"') == 0
    assert len(door.requests) == 1
    assert job.run('command -v daypass; cat "$DAYPASS_ACCESS_TOKEN_FILE"') == 0
    assert file.read_text().strip() not in job.log
    assert "/daypass/bin/daypass" in job.log


def test_a_github_job_exchanges_a_long_lived_token_that_nobody_sees(
    job: GitHubJob, door: WatchedDoor
) -> None:
    """It installs the action's own version."""
    door.credentials(job.checkout, token={"variable": "BOT"}).rename(job.checkout / "ci.json")
    job.environment |= {"BOT": long_lived_token()}
    assert job.uses(ROOT, credentials="ci.json") == 0, job.log
    assert door.bearer() == long_lived_token()
    assert b"/daypass" in door.command_lines
    assert SENTINEL.encode() not in door.command_lines
    assert SENTINEL not in job.log


def test_an_input_of_several_lines_sets_no_variable_and_is_not_printed(later: GitHubJob) -> None:
    value = "first\nLD_PRELOAD=second"
    (later.checkout / value).write_text("{}")
    assert later.uses(ROOT, first=1, credentials=value) == 2
    assert "must be the path of a file" in later.log
    assert "LD_PRELOAD" not in later.log
    assert "LD_PRELOAD" not in later.environment


def test_a_github_job_without_the_permission_fails_with_what_to_add(
    later: GitHubJob, door: WatchedDoor
) -> None:
    federated(door, {"github": {"audience": "the-door"}}, later.checkout)
    assert later.uses(ROOT, first=1, credentials="ci.json") != 0
    assert "id-token: write" in later.log
    assert not door.requests
    assert "DAYPASS_ACCESS_TOKEN_FILE" not in later.environment


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
    assert door.bodies()[-1]["spec"]["boundObjectRef"]["name"] == ANCHOR
    assert own.encode() not in door.command_lines
    assert own not in done.stdout + done.stderr


class Service(Handler):
    """What the page's script calls; a test says what it answers."""

    code = 200
    calls: list[str]

    def do_GET(self) -> None:
        self.calls.append(self.headers["Authorization"] or "")
        self.answer(self.code, f"the gate's answer {self.code}", location="/login")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[type[Service]]:
    """The service of the page, and the page's script in `report.sh` that calls it."""

    class Running(Service):
        calls: list[str] = []  # noqa: RUF012 - one list for all requests

    (script,) = [it.code for it in PAGE.blocks if "curl" in it.code]
    with serving(Running) as port:
        text = script.replace(SERVICE, f"http://127.0.0.1:{port}")
        assert text != script
        (tmp_path / "report.sh").write_text(text)
        yield Running


def report(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the page's script with this environment's daypass."""
    path = f"{Path(sys.executable).parent}:{PATH}"
    return subprocess.run(
        ["bash", "report.sh"], cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": path, "HOME": str(folder), **variables},
    )  # fmt: skip


def test_the_script_of_the_page_sends_the_token(
    door: WatchedDoor, service: type[Service], tmp_path: Path
) -> None:
    done = report(tmp_path, DAYPASS_CREDENTIALS=str(door.credentials(tmp_path)))
    assert (done.returncode, done.stdout) == (0, "the gate's answer 200"), done.stderr
    (sent,) = service.calls
    assert decode_unverified(sent.removeprefix("Bearer "))[1]["jti"] == "1"


@pytest.mark.parametrize("code", [302, 401, 503])
def test_the_script_of_the_page_fails_and_shows_the_answer(
    door: WatchedDoor, service: type[Service], tmp_path: Path, code: int
) -> None:
    service.code = code
    done = report(tmp_path, DAYPASS_CREDENTIALS=str(door.credentials(tmp_path)))
    assert done.returncode == (47 if code < 400 else 22)
    assert len(service.calls) == 1, "a redirect is not followed"
    assert (f"the gate's answer {code}" in done.stdout) == (code >= 400)
    assert (str(code) if code >= 400 else "redirects") in done.stderr


def test_a_github_job_whose_secret_is_missing_fails_with_its_name(
    later: GitHubJob, door: WatchedDoor
) -> None:
    door.credentials(later.checkout, token={"variable": "BOT"}).rename(later.checkout / "ci.json")
    later.environment |= {"BOT": ""}
    assert later.uses(ROOT, first=1, credentials="ci.json") == 2
    assert "the variable BOT" in later.log
    assert not door.requests


def page_jobs() -> dict[str, dict[str, Any]]:
    """The jobs for GitHub of the page, by how they get their tokens."""
    blocks = [it for it in PAGE.blocks if "uses: OWNER/daypass@" in it.code]
    jobs = [
        job for it in blocks for document in documents_in(it) for job in document["jobs"].values()
    ]
    return {"long-lived" if "env" in job else "federated": job for job in jobs}


def write_credentials(
    folder: Path, door: WatchedDoor, authority: Authority, token: dict[str, object]
) -> None:
    """Write the `ci.json` of the page, for a door with a private authority."""
    names = {} if "variable" in token else {"namespace": "team", "serviceAccount": "ci"}
    names["certificateAuthority"] = authority.pem
    (folder / "ci.json").write_text(
        json.dumps(credentials_document(door.url, token=token, **names))
    )


@pytest.mark.parametrize("kind", ["federated", "long-lived"])
def test_the_jobs_of_the_page_reach_the_service_by_a_private_door(
    later: GitHubJob, door: WatchedDoor, issuer: Issuer, service: type[Service], tmp_path: Path,
    kind: str,
) -> None:  # fmt: skip
    authority = Authority("fake door authority")
    door.context = authority.context("127.0.0.1")
    shutil.move(tmp_path / "report.sh", later.checkout)
    described = page_jobs()[kind]
    token: dict[str, object] = {"variable": "BOT"}
    if kind == "federated":
        token = {"github": {"audience": "a"}}
    write_credentials(later.checkout, door, authority, token)
    with oidc_of_the_runner(issuer, SUBJECT) as runner:
        later.environment |= runner if kind == "federated" else {"BOT": long_lived_token()}
        for step in described["steps"]:
            if "daypass" in step.get("uses", ""):
                assert later.uses(ROOT, first=1, **step["with"]) == 0, later.log
            elif "run" in step:
                assert later.run(step["run"]) == 0, later.log
    (sent,) = service.calls
    assert sent.startswith("Bearer ")
    if kind == "federated":
        assert subject(door.bearer())[0] == SUBJECT
    else:
        assert door.bearer() == long_lived_token()


def test_the_gitlab_job_of_the_page_uses_a_long_lived_token(
    door: WatchedDoor, service: type[Service], wheel: Path, tmp_path: Path
) -> None:
    authority = Authority("fake door authority")
    door.context = authority.context("127.0.0.1")
    (block,) = [it for it in PAGE.blocks if "DAYPASS_CREDENTIALS: ci.json" in it.code]
    (described,) = (job for document in documents_in(block) for job in document.values())
    write_credentials(tmp_path, door, authority, {"variable": "BOT"})
    package = "git+https://$CI_SERVER_FQDN/OWNER/daypass.git@COMMIT"
    whole = "\n".join(["set -eo pipefail", *described["script"]])
    done = subprocess.run(
        ["bash", "-c", whole.replace("/tmp/", f"{tmp_path}/").replace(package, str(wheel))],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
        env={
            "PATH": PATH, "HOME": str(tmp_path), "BOT": long_lived_token(),
            **described["variables"],
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert door.bearer() == long_lived_token()
    assert len(service.calls) == 1
