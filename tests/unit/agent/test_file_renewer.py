"""Renewals of one file: when, what is written, counted and logged, and which hooks run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from daypass.agent.config import CommandHook, PostHook, TokenFile
from daypass.agent.file_renewer import (
    LONGEST_SLEEP_SECONDS,
    AgentCredentials,
    FileRenewer,
)
from daypass.agent.log import AgentLog
from daypass.client.http1 import HttpRequest
from daypass.client.transport import SYSTEM_TIMING
from support.exchanges import FakeSend
from support.fake_door import (
    credentials_document,
    long_lived_token,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import check
from support.timing import FakeTiming

VALUE = short_lived_token()
REFUSED = status_answer(403, "because")


class Env:
    """A renewer with a door that answers from a list, in a time that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.timing = FakeTiming()
        self.lines: list[str] = []
        self.log = AgentLog(self.timing.clock, self.lines.append, as_json=True)
        self.answers: list[Exception | bytes] = []
        self.granted_seconds = 3600
        self.asked = 0
        (folder / "bot.json").touch(0o600)
        (folder / "bot.json").write_text(json.dumps(credentials_document("http://127.0.0.1:1/k")))
        self.credentials = AgentCredentials(
            {}, str(folder / "bot.json"), self.timing, send=FakeSend(self._answer)
        )
        (folder / "out").mkdir()
        self.file = TokenFile(
            path=str(folder / "out/token"), mode=0o600, audience=None, lifetime_seconds=1800
        )
        self.renewed = 0

    def renewer(self, **changes: object) -> FileRenewer:
        target = replace(self.file, **changes)  # type: ignore[arg-type]
        return FileRenewer(target, self.credentials, self.log, self.timing, renewed=self._count)

    def renewed_once(self) -> FileRenewer:
        renewer = self.renewer()
        assert renewer.renew()
        return renewer

    def content(self) -> bytes:
        return Path(self.file.path).read_bytes()

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]

    def pass_time(self, seconds: float) -> None:
        self.timing.fake_clock.advance(seconds)

    def _count(self) -> None:
        self.renewed += 1

    def _answer(self, request: HttpRequest) -> bytes | Exception:
        self.asked += 1
        assert json.loads(request.body)["spec"]["expirationSeconds"] == 1800
        if self.answers:
            return self.answers.pop(0)
        now = self.timing.clock.unix()
        return token_answer(now=now, date=now, granted_seconds=self.granted_seconds)


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return Env(tmp_path)


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("token", VALUE),
        ("header", f"Authorization: Bearer {VALUE}\n"),
        (
            "json",
            f'{{"token": "{VALUE}", "expiresAt": "2027-01-15T09:00:00Z",'
            ' "audiences": ["gate.example.com"]}\n',
        ),
    ],
)
def test_the_file_holds_the_token_in_the_configured_format(
    env: Env, form: str, content: str
) -> None:
    assert env.renewer(format=form).renew()
    assert env.content() == content.encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(REFUSED, "because"), (ValueError(VALUE), "ValueError")],
    ids=["refused", "unexpected"],
)
def test_a_failed_renewal_keeps_the_old_file_and_logs_the_reason(
    env: Env, answer: bytes | Exception, reason: str
) -> None:
    renewer = env.renewed_once()
    before = env.content()
    env.answers = [answer]
    env.pass_time(renewer.wait_seconds())
    assert not renewer.renew()
    assert env.content() == before
    status = renewer.status()
    assert (status.is_good, status.renewals, status.failures) == (True, 1, 1)
    event = env.events()[-1]
    assert (event["event"], event["level"]) == ("renewal_failed", "warning")
    assert reason in str(event["message"])
    assert str(event["message"]).startswith(f"{env.file.path} ")
    assert VALUE not in env.lines[-1]
    check(str(event["message"]), reason="renewal_failed")


def test_a_file_that_is_deleted_is_written_again_without_an_exchange(env: Env) -> None:
    renewer = env.renewed_once()
    env.pass_time(10)
    assert renewer.wait_seconds() > LONGEST_SLEEP_SECONDS
    Path(env.file.path).unlink()
    assert renewer.wait_seconds() == 0
    assert renewer.renew()
    assert (env.content(), env.asked) == (VALUE.encode(), 1)
    assert renewer.wait_seconds() > 0, "even if it is deleted time and again"


def test_a_deleted_file_whose_folder_is_gone_is_not_tried_without_a_pause(
    env: Env, tmp_path: Path
) -> None:
    renewer = env.renewed_once()
    (tmp_path / "out").rename(tmp_path / "moved")
    env.pass_time(10)
    assert not renewer.renew()
    assert renewer.wait_seconds() > 0


def test_no_token_is_renewed_once_the_credentials_are_removed(env: Env, tmp_path: Path) -> None:
    renewer = env.renewed_once()
    (tmp_path / "bot.json").unlink()
    env.pass_time(renewer.wait_seconds())
    assert not renewer.renew()
    assert env.asked == 1
    assert renewer.status().is_good


# -- when


@pytest.mark.parametrize("granted", [86400, 4])
@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_a_file_is_renewed_well_before_its_token_expires(
    env: Env, granted: int, jitter: float
) -> None:
    env.timing.jitter_value, env.granted_seconds = jitter, granted
    renewer = env.renewer()
    for count in (1, 2):
        assert renewer.renew()
        usable = renewer.status().left_seconds or 0
        assert 0.2 * usable <= renewer.wait_seconds() <= max(1, 0.76 * usable)
        env.pass_time(renewer.wait_seconds() + 0.001)
        assert env.asked == count


def test_pauses_after_permanent_failures_grow_to_a_limit(env: Env) -> None:
    env.timing.jitter_value = 1.0
    renewer, pauses = env.renewer(), []
    for _ in range(8):
        env.answers = [REFUSED]
        env.pass_time(renewer.wait_seconds())
        assert not renewer.renew()
        pauses.append(renewer.wait_seconds())
    assert pauses == pytest.approx([10, 20, 40, 80, 160, 300, 300, 300])
    assert [event["failures"] for event in env.events()] == list(range(1, 9))
    env.pass_time(300)
    assert renewer.renew()
    assert renewer.wait_seconds() > 1000


def test_an_expired_token_stays_in_its_file_and_is_reported_once(env: Env) -> None:
    renewer = env.renewed_once()

    def fail_after(seconds: float) -> None:
        env.answers = [REFUSED]
        env.pass_time(seconds)
        renewer.renew()
        renewer.report_expiry()
        renewer.report_expiry()

    fail_after(3589)
    assert [event["event"] for event in env.events()] == ["renewed", "renewal_failed"]
    fail_after(1)
    assert env.content() == VALUE.encode()
    assert not renewer.status().is_good
    ended = [event for event in env.events() if event["event"] == "token_expired"]
    assert [event["level"] for event in ended] == ["error"]
    check(str(ended[0]["message"]), reason="token_expired")
    env.answers = []
    env.pass_time(300)
    renewer.renew()
    assert renewer.status().is_good
    env.pass_time(3600)
    renewer.report_expiry()
    assert [event["event"] for event in env.events()].count("token_expired") == 2


# -- hooks


def test_a_failing_hook_is_reported_and_stops_neither_other_hooks_nor_renewals(
    env: Env, tmp_path: Path
) -> None:
    hooks = (
        CommandHook(command=("/no/such/command",), timeout_seconds=30),
        CommandHook(command=("touch", str(tmp_path / "second")), timeout_seconds=30),
    )
    renewer = env.renewer(hooks=hooks)
    assert not renewer.renew()
    assert (tmp_path / "second").exists()
    status = renewer.status()
    assert (status.is_good, status.renewals, status.failures, status.hook_failures) == (
        True, 1, 0, 1,
    )  # fmt: skip
    (event,) = (event for event in env.events() if event["event"] == "hook_failed")
    assert event["hook"] == 1
    check(str(event["message"]), reason="hook_failed")


def test_a_hook_with_a_proxy_that_cannot_be_used_fails_without_ending_the_agent(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.delenv("https_proxy", raising=False)
    hook = PostHook(url="https://gate.example.com/reload", timeout_seconds=1)
    assert not env.renewer(hooks=(hook,)).renew()
    event = env.events()[-1]
    assert event["event"] == "hook_failed"
    check(str(event["message"]), reason="hook_failed")


def test_hooks_do_not_run_after_a_failed_renewal(env: Env, tmp_path: Path) -> None:
    env.answers = [REFUSED]
    hook = CommandHook(command=("touch", str(tmp_path / "told")), timeout_seconds=30)
    env.renewer(hooks=(hook,)).renew()
    assert not (tmp_path / "told").exists()


# -- the thread


def test_a_renewal_requested_during_another_runs_afterwards(env: Env) -> None:
    """Credentials may be replaced during an exchange with the old ones."""
    turns: list[Callable[[], None]] = []
    env._count = lambda: turns.pop()()  # type: ignore[method-assign]
    renewer = env.renewer()
    turns += [renewer.stop, renewer.renew_now]
    run(renewer, lambda: None)
    assert env.asked == 2


def run(renewer: FileRenewer, then: Callable[[], None]) -> None:
    thread = threading.Thread(target=renewer.run)
    thread.start()
    then()
    thread.join(60)
    assert not thread.is_alive()


def test_a_variable_that_once_held_the_token_is_kept_from_hooks(tmp_path: Path) -> None:
    """After a rotation from a variable to a file the variable still holds a long-lived token."""
    file = tmp_path / "bot.json"
    file.touch(0o600)
    environ = {"LONG": long_lived_token(), "OTHER": long_lived_token()}
    holder = AgentCredentials(environ, str(file), SYSTEM_TIMING)
    for token in ({"variable": "LONG"}, {"variable": "OTHER"}, long_lived_token()):
        fields = {"type": "daypass", "version": 1, "door": "https://localhost:1/kubernetes"}
        file.write_text(json.dumps({**fields, "audience": "a", "token": token}))
        assert holder.identity() is not None
    assert {"LONG", "OTHER"} <= set(holder.variables)
