"""Events, probes, metrics, systemd, and the environment of hook commands."""

from __future__ import annotations

import json
import re

import pytest

from daypass.agent.daemon import ServiceManager, metrics, why_not_ready
from daypass.agent.file_renewer import RenewerStatus, hook_environment
from daypass.agent.log import AgentEvent, AgentLog
from support.messages import check
from support.timing import FakeClock

SAMPLE = re.compile(r'^daypass_agent_[a-z_]+\{path="(?:[^"\\\n]|\\["\\])*"\} -?\d+$')


def status(**changes: object) -> RenewerStatus:
    known: dict[str, object] = {
        "path": "/run/a", "is_good": True, "left_seconds": 100.4, "renewals": 2, "failures": 1,
        "hook_failures": 3,
    }  # fmt: skip
    return RenewerStatus(**{**known, **changes})  # type: ignore[arg-type]


NEW = status(path="/run/new", is_good=False, left_seconds=None, renewals=0)
ENDED = status(path="/run/ended", is_good=False, left_seconds=-5.0)


def test_ready_is_when_every_file_holds_a_good_token() -> None:
    assert why_not_ready([status(), status()]) == ""
    text = why_not_ready([status(), NEW, ENDED])
    assert [line.partition(": ")[0] for line in text.splitlines()] == ["/run/new", "/run/ended"]
    check(text, reason="not ready")


def test_metrics_are_in_the_format_that_prometheus_reads() -> None:
    lines = metrics([status(path='/run/"odd\\name"'), NEW, ENDED]).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(SAMPLE.match(line) for line in samples)
    assert 'daypass_agent_renewals_total{path="/run/ended"} 2' in samples
    assert 'daypass_agent_expiry_seconds{path="/run/ended"} -5' in samples
    assert not any("expiry_seconds" in line and "/run/new" in line for line in samples)
    names = {line.partition("{")[0] for line in samples}
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == names


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


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/socket", "@nobody-listens"])
def test_a_missing_service_manager_is_no_error(address: str) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}).notify("READY=1")
