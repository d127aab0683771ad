"""Events, and the environment of hook commands."""

from __future__ import annotations

import json

import pytest

from daypass.agent.daemon import why_not_ready
from daypass.agent.file_renewer import RenewerStatus, hook_environment
from daypass.agent.log import AgentEvent, AgentLog
from support.messages import check
from support.timing import FakeClock


def test_a_file_without_a_token_yet_is_not_ready() -> None:
    new = RenewerStatus(
        path="/run/new", is_good=False, left_seconds=None, renewals=0, failures=0, hook_failures=0
    )
    check(why_not_ready([new]), reason="not ready")


def test_a_json_event_is_one_line() -> None:
    lines: list[str] = []
    AgentLog(FakeClock(), lines.append, as_json=True).write(
        AgentEvent.RENEWED, "a\nb", path="/x", tokens=1
    )
    assert json.loads(lines[0]) == {
        "time": "2027-01-15T08:00:00.000Z", "level": "info", "event": "renewed", "message": "a\nb",
        "path": "/x", "tokens": 1,
    }  # fmt: skip
    assert lines[0].count("\n") == 1


def test_a_text_event_is_one_line_without_control_characters() -> None:
    lines: list[str] = []
    AgentLog(FakeClock(), lines.append).write(AgentEvent.TOKEN_EXPIRED, "a\n\x1b[2Jb")
    assert lines == ["daypass: error: a??[2Jb\n"]


def test_a_quiet_log_has_warnings_and_errors_only() -> None:
    lines: list[str] = []
    log = AgentLog(FakeClock(), lines.append, quiet=True)
    log.write(AgentEvent.RENEWED, "fine")
    log.write(AgentEvent.RENEWAL_FAILED, "not fine")
    assert lines == ["daypass: warning: not fine\n"]


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_closed_log_stops_nothing(error: Exception) -> None:
    def write(_: str) -> None:
        raise error

    AgentLog(FakeClock(), write).write(AgentEvent.STARTED, "up")


def test_a_hook_command_gets_no_variable_that_leads_to_a_token() -> None:
    environ = {
        "PATH": "/bin", "DAYPASS_SECRET": "secret", "DAYPASS_CREDENTIALS": "/x",
        "NOTIFY_SOCKET": "/y", "WATCHDOG_USEC": "1", "CREDENTIALS_DIRECTORY": "/z",
        "JOB_TOKEN": "secret",
    }  # fmt: skip
    assert hook_environment(environ, "/run/a", ("JOB_TOKEN",)) == {
        "PATH": "/bin",
        "DAYPASS_RENEWED": "/run/a",
    }
