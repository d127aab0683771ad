"""Ray's job client and command, to a cluster behind the gate."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

import daypass
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity
from daypass.local.state import runtime_folder
from support.deadline import eventually

RAY = (sys.executable, "-m", "ray.scripts.scripts")


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str]) -> Iterator[str]:
    """A head node with the least that jobs need, on loopback only."""
    with runtime_folder() as folder:
        yield run_server(
            *RAY, "start", "--head", "--block", "--num-cpus=1", "--num-gpus=0",
            "--object-store-memory=80000000", "--memory=500000000", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", "--port=0", f"--temp-dir={folder}",
            "--dashboard-host=127.0.0.1", "--dashboard-port=PORT",
            environment={
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or it listens on all addresses
                "RAY_memory_monitor_refresh_ms": "0",
                "PYTHONDONTWRITEBYTECODE": "",
            },
        )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _ready(server: str) -> None:
    """Ray listens before it runs jobs."""
    eventually("Ray takes a job", lambda: _takes_a_job(server))


def _takes_a_job(server: str) -> bool:
    try:
        return bool(JobSubmissionClient(server).submit_job(entrypoint="true"))
    except RuntimeError:
        return False


@pytest.fixture
def client(host: str, authority: str, credentials: daypass.Credentials) -> JobSubmissionClient:
    return JobSubmissionClient(f"daypass://{host}", credentials=credentials, verify=authority)


@pytest.fixture
def ray(
    host: str, authority: str, daypass_identity: MadeIdentity, home: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command line of a user."""

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        _, *words = line.replace("HOST", host).replace("AUTHORITY", authority).split()
        environment = {**os.environ, "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file)}
        return subprocess.run(
            [*RAY, *words],
            env={**environment, **variables},
            cwd=home, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return run


@pytest.fixture
def settings(host: str, authority: str) -> dict[str, str]:
    """Variables in place of options."""
    name, address = ["RAY_API_SERVER_ADDRESS", "daypass://HOST"]
    return {
        name: address.replace("HOST", host),
        "SSL_CERT_FILE": authority,  # for logs
        "REQUESTS_CA_BUNDLE": authority,
    }


def test_the_command_submits_a_job_and_follows_its_log(
    ray: Callable[..., subprocess.CompletedProcess[str]], settings: dict[str, str],
    daypass_identity: MadeIdentity, arrived: list[Arrival], home: Path,
) -> None:  # fmt: skip
    (home / "work").mkdir()
    (home / "work" / "train.py").write_text("print('trained')\n")
    done = ray("ray job submit --working-dir work -- python train.py", **settings)
    assert done.returncode == 0, done.stderr
    assert "\ntrained\n" in done.stdout
    assert {each.user for each in arrived} == {daypass_identity.user}
    kinds = {(each.method, each.path.split("/")[2]) for each in arrived}
    assert {("PUT", "packages"), ("POST", "jobs"), ("GET", "version")} <= kinds
    assert [each.path.endswith("/logs/tail") for each in arrived if each.is_websocket] == [True]


def test_credentials_of_the_environment_are_enough_for_a_client(
    host: str, authority: str, daypass_environment: MadeIdentity, arrived: list[Arrival]
) -> None:
    client = JobSubmissionClient(f"daypass://{host}", verify=authority)
    assert client.list_jobs() != []
    assert {each.user for each in arrived} == {daypass_environment.user}


def test_a_client_and_an_open_log_go_on_when_the_token_expires(
    client: JobSubmissionClient, arrived: list[Arrival], expire: Callable[[], Token],
    daypass_identity: MadeIdentity, tmp_path: Path,
) -> None:  # fmt: skip
    goes_on = tmp_path / "go-on"
    waits = f"echo first; until [ -e {goes_on} ]; do sleep 0.05; done; echo last"
    job = client.submit_job(entrypoint=waits)

    async def follow() -> list[str]:
        log = ""
        async for lines in client.tail_job_logs(job):
            log += lines
            if "first" in log.splitlines() and not goes_on.exists():
                expire()
                goes_on.touch()
        return log.splitlines()

    assert {"first", "last"} <= {*asyncio.run(follow())}
    assert client.get_job_status(job) is JobStatus.SUCCEEDED
    assert "last" in log_of(client, job).splitlines()
    assert [each.is_websocket for each in arrived] == [False, True]
    assert {each.user for each in arrived} == {daypass_identity.user}


def log_of(client: JobSubmissionClient, job: str) -> str:
    async def follow() -> str:
        return "".join([lines async for lines in client.tail_job_logs(job)])

    return asyncio.run(follow())


def test_a_refusal_shows_the_reason_and_a_new_client_has_a_new_token(
    client: JobSubmissionClient, host: str, authority: str, deny: Callable[..., Token],
    credentials: daypass.Credentials, daypass_identity: MadeIdentity,
) -> None:  # fmt: skip
    job = client.submit_job(entrypoint="true")
    denied = deny()
    with pytest.raises(
        AuthenticationError, match=r"Authentication required: .*has denied this token"
    ):
        client.list_jobs()
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401, message="):
        log_of(client, job)
    assert credentials.token() == denied  # Ray does not pass the answer on
    again = JobSubmissionClient(
        f"daypass://{host}", credentials=daypass_identity.credentials(), verify=authority
    )
    assert job in {each.submission_id for each in again.list_jobs()}


def test_other_headers_are_sent_and_an_authorization_of_the_users_own_stays(
    host: str, authority: str, credentials: daypass.Credentials, arrived: list[Arrival],
) -> None:  # fmt: skip
    def connect(**headers: str) -> Any:
        return JobSubmissionClient(
            f"daypass://{host}", headers=headers, credentials=credentials, verify=authority
        )

    connect(**{"X-Ray-Authorization": "Bearer of-ray"}).list_jobs()
    assert {each.headers["x-ray-authorization"] for each in arrived} == {"Bearer of-ray"}
    arrived.clear()
    with pytest.raises(AuthenticationError):
        connect(authorization="Bearer of-mine")
    assert arrived == []


def test_the_token_is_not_in_what_is_printed_of_a_client(
    client: JobSubmissionClient, credentials: daypass.Credentials
) -> None:
    client.list_jobs()
    assert credentials.token().value.reveal() not in f"{vars(client)}"
