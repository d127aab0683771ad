"""Renewals of one file: what is written, counted and logged, and which hooks run."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.clock import utc
from daypass._core.errors import DaypassError
from daypass._core.secret import Secret
from daypass.agent.config import CommandHook, PostHook, SignalHook, TokenFile
from daypass.agent.file_renewer import FileRenewer, TokenRequester
from daypass.agent.log import AgentLog
from daypass.client.errors import DoorBusyError, ExchangeRefusedError
from daypass.client.token import CachedToken, Token
from daypass.client.transport import SYSTEM_TIMING
from support.fake_door import long_lived_token
from support.messages import check
from support.timing import NOON, FakeTiming

VALUE = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJnYXRlIn0.c2hvcnQ"


class Scene:
    """A renewer with a door that answers from a list, in a time that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.timing = FakeTiming()
        self.lines: list[str] = []
        self.log = AgentLog(self.timing.clock, self.lines.append, as_json=True)
        self.answers: list[Exception | float] = []
        self.asked: list[tuple[str | None, int | None]] = []
        self.file = TokenFile.private(str(folder / "token"), audience="gate", lifetime_seconds=1800)
        self.renewed = 0

    def renewer(self, **changes: object) -> FileRenewer:
        target = replace(self.file, **changes)  # type: ignore[arg-type]
        return FileRenewer(target, self._ask, self.log, self.timing, renewed=self._count)

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]

    def _count(self) -> None:
        self.renewed += 1

    def _ask(self, audience: str | None, lifetime_seconds: int | None) -> CachedToken:
        self.asked.append((audience, lifetime_seconds))
        answer = self.answers.pop(0) if self.answers else 3600.0
        if isinstance(answer, Exception):
            raise answer
        clock = self.timing.clock
        token = Token(
            value=Secret(VALUE),
            expires_at=utc(clock.unix() + answer),
            audiences=("gate",),
            warnings=("shortened",),
        )
        return CachedToken.from_token(
            token, unix=clock.unix(), monotonic=clock.monotonic(), usable_seconds=answer
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A folder, a door, a clock."""
    return Scene(tmp_path)


def text(scene: Scene) -> bytes:
    return Path(scene.file.path).read_bytes()


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("token", VALUE),
        ("header", f"Authorization: Bearer {VALUE}\n"),
        (
            "json",
            f'{{"token": "{VALUE}", "expiresAt": "2027-01-15T09:00:00Z", "audiences": ["gate"]}}\n',
        ),
    ],
)
def test_the_file_holds_the_token_in_the_configured_format(
    scene: Scene, form: str, content: str
) -> None:
    assert scene.renewer(format=form).renew()
    assert text(scene) == content.encode()
    assert scene.asked == [("gate", 1800)]


def test_a_renewal_is_counted_and_logged_without_the_token(scene: Scene) -> None:
    renewer = scene.renewer()
    assert renewer.status().left_seconds is None
    assert not renewer.status().is_good
    assert renewer.renew()
    status = renewer.status()
    assert (status.is_good, status.left_seconds, status.renewals) == (True, 3600, 1)
    assert scene.renewed == 1
    (event,) = scene.events()
    assert event["event"] == "renewed"
    assert event["expires_at"] == "2027-01-15T09:00:00Z"
    assert "shortened" in str(event["message"])
    assert VALUE not in scene.lines[0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(
            ExchangeRefusedError("it is refused", "ask\nthe admin"),
            "it is refused; ask; the admin",
            id="refused",
        ),
        pytest.param(
            OSError(28, "No space left on device", "/x"), "/x: No space left on device", id="file"
        ),
        pytest.param(OSError(28, "No space left on device"), "No space left on device", id="disk"),
        pytest.param(ValueError(VALUE), "ValueError", id="unexpected"),
    ],
)
def test_a_failed_renewal_keeps_the_old_file_and_logs_the_reason(
    scene: Scene, error: Exception, reason: str
) -> None:
    scene.answers = [3600.0, error]
    renewer = scene.renewer()
    renewer.renew()
    before = text(scene)
    assert not renewer.renew()
    assert text(scene) == before
    status = renewer.status()
    assert (status.is_good, status.renewals, status.failures) == (True, 1, 1)
    event = scene.events()[-1]
    assert (event["event"], event["level"]) == ("renewal_failed", "warning")
    assert reason in str(event["message"])
    assert str(event["message"]).startswith(f"{scene.file.path} ")
    assert VALUE not in scene.lines[-1]
    check(str(event["message"]), reason="renewal_failed")


def test_an_expired_token_stays_in_its_file_and_is_reported_once(scene: Scene) -> None:
    scene.answers = [3600.0, DaypassError("no"), DaypassError("no"), 3600.0, DaypassError("no")]
    renewer = scene.renewer()
    renewer.renew()
    scene.timing.fake_clock.advance(3599)
    renewer.renew()
    renewer.report_expiry()
    assert [event["event"] for event in scene.events()] == ["renewed", "renewal_failed"]
    scene.timing.fake_clock.advance(1)
    renewer.renew()
    renewer.report_expiry()
    renewer.report_expiry()
    assert text(scene) == VALUE.encode()
    assert not renewer.status().is_good
    ended = [event for event in scene.events() if event["event"] == "token_ended"]
    assert [event["level"] for event in ended] == ["error"]
    check(str(ended[0]["message"]), reason="token_ended")
    renewer.renew()
    assert renewer.status().is_good
    scene.timing.fake_clock.advance(3600)
    renewer.report_expiry()
    assert [event["event"] for event in scene.events()].count("token_ended") == 2


def test_a_file_that_was_never_written_is_not_reported_as_expired(scene: Scene) -> None:
    renewer = scene.renewer()
    renewer.report_expiry()
    assert scene.lines == []


def test_the_retry_after_of_a_busy_door_is_waited(scene: Scene) -> None:
    scene.answers = [DoorBusyError("busy", retry_after_seconds=120)]
    scene.renewer().renew()
    assert scene.events()[-1]["again_in_seconds"] == 120


def test_a_failing_hook_is_reported_and_stops_neither_other_hooks_nor_renewals(
    scene: Scene, tmp_path: Path
) -> None:
    hooks = (
        SignalHook(number=1, pid_file=str(tmp_path / "no.pid")),
        CommandHook(command=("touch", str(tmp_path / "second")), timeout_seconds=30),
    )
    renewer = scene.renewer(hooks=hooks)
    assert not renewer.renew()
    assert (tmp_path / "second").exists()
    status = renewer.status()
    assert (status.is_good, status.renewals, status.failures, status.hook_failures) == (
        True, 1, 0, 1,
    )  # fmt: skip
    (event,) = (event for event in scene.events() if event["event"] == "hook_failed")
    assert event["hook"] == 1
    check(str(event["message"]), reason="hook_failed")


def test_a_proxy_that_cannot_be_used_fails_the_hook_and_not_the_agent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.delenv("https_proxy", raising=False)
    hook = PostHook(url="https://gate.example.com/reload", timeout_seconds=1)
    assert not scene.renewer(hooks=(hook,)).renew()
    event = scene.events()[-1]
    assert event["event"] == "hook_failed"
    assert "socks5" in str(event["message"])
    check(str(event["message"]), reason="hook_failed")


def test_a_pid_file_that_is_a_pipe_does_not_block(scene: Scene, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pid")
    hook = SignalHook(number=15, pid_file=str(tmp_path / "x.pid"))
    assert not scene.renewer(hooks=(hook,)).renew()
    event = scene.events()[-1]
    assert event["event"] == "hook_failed"
    assert str(tmp_path / "x.pid") in str(event["message"])
    check(str(event["message"]), reason="hook_failed")


def test_hooks_do_not_run_after_a_failed_renewal(scene: Scene, tmp_path: Path) -> None:
    scene.answers = [DaypassError("no")]
    hook = CommandHook(command=("touch", str(tmp_path / "told")), timeout_seconds=30)
    scene.renewer(hooks=(hook,)).renew()
    assert not (tmp_path / "told").exists()


def test_a_renewal_requested_during_another_runs_afterwards(scene: Scene) -> None:
    """Credentials may be replaced while a token is being had with the old ones."""
    renewer = scene.renewer()
    asked: Callable[[str | None, int | None], CachedToken] = scene._ask
    turns = []

    def ask(audience: str | None, lifetime_seconds: int | None) -> CachedToken:
        turns.append(1)
        renewer.renew_now() if len(turns) == 1 else renewer.stop()
        return asked(audience, lifetime_seconds)

    renewer._request = ask
    thread = threading.Thread(target=renewer.run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert len(turns) == 2


def test_a_waiting_renewer_stops_when_asked(scene: Scene) -> None:
    renewer = scene.renewer()
    renewer.renew()
    thread = threading.Thread(target=renewer.run)
    thread.start()
    renewer.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert len(scene.asked) == 1
    assert scene.timing.clock.unix() == NOON


def test_a_variable_that_once_held_the_token_is_kept_from_hooks(tmp_path: Path) -> None:
    """After a rotation from a variable to a file the variable still holds a long-lived token."""
    file = tmp_path / "bot.json"
    file.touch(0o600)
    environ = {"LONG": long_lived_token(), "OTHER": long_lived_token()}
    holder = TokenRequester(environ, str(file), SYSTEM_TIMING)
    for token in ({"variable": "LONG"}, {"variable": "OTHER"}, long_lived_token()):
        fields = {"type": "daypass", "version": 1, "door": "https://localhost:1/kubernetes"}
        file.write_text(json.dumps({**fields, "audience": "a", "token": token}))
        assert holder.identity() is not None
    assert {"LONG", "OTHER"} <= set(holder.variables)
