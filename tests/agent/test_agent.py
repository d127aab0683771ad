"""The agent as a process: token files stay fresh whatever happens to the door or the agent."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.running import Agent, Door, daypass, running_agent, write_config
from support.deadline import eventually
from support.fake_door import SENTINEL, long_lived_token, short_lived_token
from support.messages import check

BASIC = 'credentials = "HERE/bot.json"\n[[token]]\npath = "HERE/token"\n'


@pytest.fixture
def config(door: Door, tmp_path: Path) -> Path:
    """A config with one token and nothing else."""
    door.credentials(tmp_path)
    return write_config(tmp_path, BASIC)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own agent
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_old_file_stays_after_a_refusal_its_expiry_is_an_error_and_no_log_has_a_token(
    door: Door, tmp_path: Path
) -> None:
    door.credentials(tmp_path)
    config = write_config(tmp_path, "listen = 0\n" + BASIC)
    with running_agent(config) as agent:
        agent.wait_for("ready")
        code, text = get(agent.url("/readyz"))
        assert code == 200
        assert text == "ready\n"
        door.granted_seconds = 2
        door.credentials(tmp_path, lifetimeSeconds=1800)
        agent.wait_for("renewed", 2)
        door.refuse()
        agent.wait_for("renewal_failed")
        before = (tmp_path / "token").read_text()
        ended = agent.wait_for("token_expired")
        assert ended["level"] == "error"
        assert (tmp_path / "token").read_text() == before
        code, text = get(agent.url("/readyz"))
        assert (code, text.partition(": ")[0]) == (503, f"{tmp_path}/token")
        check(text, reason="not ready")
        assert get(agent.url("/healthz"))[0] == 200
        metrics = get(agent.url("/metrics"))[1]
        assert f'daypass_agent_valid{{path="{tmp_path}/token"}} 0' in metrics
        assert "eyJ" not in metrics
        assert get(agent.url("/token"))[0] == 404
        agent.end()
    assert SENTINEL not in agent.words
    assert "eyJ" not in agent.words


def test_replaced_credentials_renew_every_file_immediately(
    door: Door, config: Path, tmp_path: Path
) -> None:
    """The old Secret may be deleted soon, and tokens bound to it expire with it."""
    with running_agent(config) as agent:
        agent.wait_for("renewed")
        other = long_lived_token(secret="bot-daypass-zzzzzzzzzzzzzzzzzzzz")
        door.credentials(tmp_path, token=other)
        agent.wait_for("credentials_changed")
        agent.wait_for("renewed", 2)
        agent.end()
    bound = [body["spec"]["boundObjectRef"]["name"] for body in door.bodies()]
    assert bound == ["bot-daypass-0123456789abcdefghij", "bot-daypass-zzzzzzzzzzzzzzzzzzzz"]


def test_a_silent_door_does_not_delay_shutdown(door: Door, config: Path) -> None:
    door.is_silent = True
    with running_agent(config) as agent:
        eventually("the door is asked", lambda: door.requests)
        assert agent.end(signal.SIGINT) == 0
    assert agent.count("stopped") == 1


def test_a_hook_that_hangs_does_not_delay_other_files(door: Door, tmp_path: Path) -> None:
    door.credentials(tmp_path)
    hook = '{ command = ["sleep", "60"] }'
    config = write_config(
        tmp_path, BASIC + f'on_renewal = [{hook}]\n[[token]]\npath = "HERE/second"\n'
    )
    with running_agent(config) as agent:
        agent.wait_for("renewed", 2)
        assert agent.end() == 0


# -- hooks

RunHook = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_hook(door: Door, tmp_path: Path) -> RunHook:
    """Renew a file once, with this hook; credentials can be changed."""

    def run(
        hook: str, *, environment: dict[str, str] | None = None, **changes: object
    ) -> subprocess.CompletedProcess[str]:
        file = door.credentials(tmp_path, **changes)
        config = write_config(tmp_path, f"{BASIC}on_renewal = [{hook}]\n")
        return once(config, environment={"DAYPASS_CREDENTIALS": str(file), **(environment or {})})

    return run


def assert_hook_failed(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    assert [each for each in words if each not in done.stderr] == []
    check(warning(done), reason="hook_failed")


def test_a_hook_command_gets_the_path_of_the_file_but_not_the_token(
    run_hook: RunHook, tmp_path: Path
) -> None:
    tell = 'cat /proc/$$/cmdline; env; echo "$DAYPASS_RENEWED" >HERE/said; env >HERE/env'
    done = run_hook(
        f"{{ command = ['sh', '-c', '{tell}'] }}",
        environment={"JOB_TOKEN": long_lived_token()},
        token={"variable": "JOB_TOKEN"},
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "said").read_text() == f"{tmp_path}/token\n"
    environment = (tmp_path / "env").read_text()
    assert not [each for each in ("eyJ", "DAYPASS_CREDENTIALS", "JOB_TOKEN") if each in environment]


def test_a_failing_hook_command_is_reported_with_its_output_without_tokens(
    run_hook: RunHook, tmp_path: Path
) -> None:
    script = "cat HERE/token; echo; cut -c 20-80 HERE/token; echo oops; exit 3"
    done = run_hook(f"{{ command = ['sh', '-c', '{script}'] }}")
    assert_hook_failed(done, "3: *** *** oops")
    token = (tmp_path / "token").read_text()
    assert not any(token[at : at + 16] in done.stderr for at in range(len(token) - 15))


def test_a_hook_command_that_times_out_is_killed_with_its_children(
    run_hook: RunHook, tmp_path: Path
) -> None:
    script = "sleep 300 & echo $! >HERE/child; wait"
    done = run_hook(f"{{ command = ['sh', '-c', '{script}'], timeout = 1 }}")
    assert_hook_failed(done, "1 s")
    pid = int((tmp_path / "child").read_text())
    eventually("what it started is gone", lambda: not is_running(pid))


ERROR = "HTTP/1.1 {}\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (ERROR.format("500 No").encode(), "500"),
        (None, "TimeoutError"),
    ],
    ids=["204", "500", "nothing"],
)
def test_a_post_hook_sends_no_token_and_fails_on_an_error_status(
    run_hook: RunHook, answer: bytes | None, error: str | None
) -> None:
    with Door() as listener:
        listener.refusal = answer
        listener.is_silent = answer is None
        url = f"http://127.0.0.1:{listener.port}/reload?x=1"
        done = run_hook(f'{{ post = "{url}", timeout = 1 }}')
    if error is None:
        assert done.returncode == 0
    else:
        assert_hook_failed(done, error, f"127.0.0.1:{listener.port} ")
    (request,) = listener.requests
    assert request.startswith(b"POST /reload?x=1 HTTP/1.1\r\n")
    assert b"eyJ" not in request
    assert request.endswith(b"\r\n\r\n")


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


# -- once


def once(
    config: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return daypass("agent", "--config", str(config), "--once", *arguments, environment=environment)


def warning(done: subprocess.CompletedProcess[str]) -> str:
    """The line on stderr with the warning."""
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("daypass: warning: ")]
    return line


def test_once_renews_and_exits(door: Door, config: Path, tmp_path: Path) -> None:
    done = once(config)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"daypass: {tmp_path}/token ")
    check(done.stderr, reason="renewed", hide=r"\b20\d\d-\S+")
    assert (tmp_path / "token").read_text() == short_lived_token(1)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


# -- systemd


def test_systemd_is_notified_of_readiness(door: Door, config: Path) -> None:
    address = f"\0daypass-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}
        door.refuse(503)
        with running_agent(config, environment=environment) as agent:
            assert wait_for_line(manager, agent, "STATUS=0 of 1 tokens are good")
            door.refusal = None
            before = wait_for_line(manager, agent, "READY=1")
            assert "READY=1" not in before[:-1]
            agent.process.send_signal(signal.SIGTERM)
            wait_for_line(manager, agent, "STOPPING=1")
            assert agent.end(None) == 0


def wait_for_line(manager: socket.socket, agent: Agent, line: str) -> list[str]:
    """What systemd was told until it was told this."""
    heard: list[str] = []
    while line not in heard:
        heard += manager.recv(4096).decode().split("\n")
    return heard
