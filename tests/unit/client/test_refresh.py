"""When a token is replaced, and how requests to a failing door back off."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daypass._core.errors import DaypassError
from daypass.client.config import CredentialsConfig, ReloadingConfig
from daypass.client.credentials import Credentials
from daypass.client.credentials_source import read_source
from daypass.client.errors import DoorBusyError, DoorUnreachableError, ExchangeRefusedError
from daypass.client.http1 import HttpRequest
from daypass.client.token import Token
from support.exchanges import CredentialsAtDoor, FakeSend
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    answer,
    credentials_document,
    long_lived_token,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import check, raises
from support.timing import NOON, FakeTiming
from unit.client.conftest import Ask


class Door:
    """Grants tokens by the fake clock, numbered, unless `fault` is set."""

    def __init__(self, timing: FakeTiming) -> None:
        self._timing = timing
        self.fault: bytes | None = None
        self.tokens = 0

    def __call__(self, request: HttpRequest) -> bytes:
        if self.fault is not None:
            return self.fault
        self.tokens += 1
        now = self._timing.fake_clock.now_monotonic - 1000 + NOON  # however this machine's is set
        spec = json.loads(request.body)["spec"]
        return token_answer(now=now, date=now, number=self.tokens, spec=spec)


@pytest.fixture
def door(timing: FakeTiming) -> Door:
    return Door(timing)


class Client:
    """Credentials that have token number 1 of a door. It is stale after half of its lifetime."""

    def __init__(self, timing: FakeTiming) -> None:
        self.timing, self.clock, self.door = timing, timing.fake_clock, Door(timing)
        timing.jitter_value = 0.5
        wired = CredentialsAtDoor(timing)
        self.credentials = wired(self.door)
        self.wire = wired.wire
        self.credentials.token()

    def refresh(self) -> None:
        """Let the token become stale, and do the refresh that its next use begins."""
        self.clock.advance(1800)
        self.credentials.token()
        self.timing.do_begun()


@pytest.fixture
def client(timing: FakeTiming) -> Client:
    return Client(timing)


def number(token: Token) -> int:
    return next(n for n in range(1, 99) if token.value.reveal() == short_lived_token(n))


# -- in the background


def test_a_stale_token_is_served_while_it_refreshes(client: Client, ask: Ask) -> None:
    client.clock.advance(1800)
    assert [number(ask(client.credentials)) for _ in range(3)] == [1, 1, 1]
    assert client.door.tokens == 1
    assert len(client.timing.begun) == 1
    client.timing.do_begun()
    assert number(ask(client.credentials)) == 2
    assert number(ask(client.credentials, AUDIENCE, 3600)) == 2
    assert client.timing.begun == []


def test_the_cached_token_is_returned_while_fresh_and_starts_no_refresh(client: Client) -> None:
    assert CredentialsAtDoor(client.timing)(client.door).cached_token() is None  # none was got yet
    token = client.credentials.token()
    asked = client.door.tokens
    assert client.credentials.cached_token() is token
    assert client.credentials.cached_token("other") is None
    client.clock.advance(3000)
    assert client.credentials.cached_token() is None
    assert (client.door.tokens, client.timing.begun) == (asked, [])


def test_a_token_is_served_until_it_expires_while_the_door_is_broken(
    client: Client, ask: Ask
) -> None:
    client.door.fault = answer(503)
    for _ in range(359):  # to 3590 s, every ten seconds
        client.clock.advance(10)
        if client.clock.now_monotonic < 1000 + 3590:
            assert number(ask(client.credentials)) == 1
        client.timing.do_begun()
    with pytest.raises(DoorUnreachableError):
        ask(client.credentials)
    assert len(client.wire.requests) < 25


def test_a_failed_refresh_is_logged_without_a_token(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.door.fault = status_answer(403, f"no: {long_lived_token()}")
    client.refresh()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("daypass", logging.WARNING)
    check(record.getMessage(), reason="warning")
    assert "1790 s" in record.getMessage()
    assert SENTINEL not in record.getMessage()
    assert record.exc_info is None


def test_a_token_is_served_without_a_refresh_if_no_thread_can_start(client: Client) -> None:
    def refuse(_: str, __: Callable[[], None]) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    client.timing.start = refuse
    client.clock.advance(1800)
    assert [number(client.credentials.token()) for _ in range(3)] == [1, 1, 1]
    client.clock.advance(1790)
    assert number(client.credentials.token()) == 2


@pytest.mark.parametrize("jump", [-90_000, 90_000])
def test_a_clock_that_jumps_costs_one_exchange_at_most(
    client: Client, ask: Ask, jump: float
) -> None:
    client.clock.now_unix += jump
    for _ in range(5):
        ask(client.credentials)
        client.timing.do_begun()
        client.clock.advance(60)
    assert client.door.tokens <= 2


# -- a broken door


def test_retry_after_applies_to_all_callers_for_ten_minutes_at_most(
    wired: CredentialsAtDoor, ask: Ask, timing: FakeTiming
) -> None:
    answers = [status_answer(429, "slow", "Retry-After: 99999999"), token_answer()]
    credentials = wired(lambda _: answers.pop(0))
    for passed in (0, 300, 299):
        timing.fake_clock.advance(passed)
        with pytest.raises(DoorBusyError):
            ask(credentials)
    assert len(wired.wire.requests) == 1
    timing.fake_clock.advance(2)
    assert number(ask(credentials)) == 1


# -- after a 401


@pytest.fixture(params=["sync", "async"])
def renew(request: pytest.FixtureRequest) -> Ask:
    def renew_async(credentials: Credentials, *args: object) -> Token:
        return asyncio.run(credentials.renew_async(*args))  # type: ignore[arg-type]

    return Credentials.renew if request.param == "sync" else renew_async


def test_a_refused_token_is_renewed_once_for_all_its_users(client: Client, renew: Ask) -> None:
    refused = client.credentials.token()
    assert [number(renew(client.credentials, refused)) for _ in range(3)] == [2, 2, 2]
    assert number(client.credentials.token()) == 2
    assert client.door.tokens == 2


def test_renewals_back_off_if_every_token_is_refused(client: Client, renew: Ask) -> None:
    for _ in range(3600):
        token = client.credentials.token()
        again = renew(client.credentials, token)
        assert again.value == client.credentials.token().value
        client.clock.advance(1)
    assert client.door.tokens <= 14  # at once, after 10, 20, 40 ... 600 s


def test_a_refused_token_is_renewed_during_the_backoff_of_the_refresh(
    client: Client, renew: Ask
) -> None:
    client.door.fault = answer(503)
    client.clock.advance(1800)
    token = client.credentials.token()
    client.timing.do_begun()
    client.door.fault = None
    client.clock.advance(1)
    assert number(client.credentials.token()) == 1
    assert number(renew(client.credentials, token)) == 2


def test_a_log_handler_may_request_a_token(client: Client) -> None:
    got: list[Token] = []

    class Shipper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with ThreadPoolExecutor(1) as pool:  # on another thread: no lock is in its way
                got.append(pool.submit(client.credentials.token).result())

    shipper = Shipper()
    logging.getLogger("daypass").addHandler(shipper)
    try:
        client.door.fault = answer(503)
        client.refresh()
    finally:
        logging.getLogger("daypass").removeHandler(shipper)
    assert [number(token) for token in got] == [1]


# -- credentials that are replaced on disk


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.json"
    write(path, "first")
    return path


def write(path: Path, secret: str, **changes: object) -> None:
    changes = {"token": long_lived_token(secret=secret), **changes}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(credentials_document("http://127.0.0.1:1/kubernetes", **changes)))
    new.chmod(0o600)
    new.rename(path)


def from_file(path: Path, wire: FakeSend, timing: FakeTiming) -> Credentials:
    def read() -> CredentialsConfig:
        return CredentialsConfig(read_source({}, str(path)))

    return Credentials(ReloadingConfig(read(), read), timing=timing, send=wire)


def bound(wire: FakeSend) -> list[str]:
    return [json.loads(r.body)["spec"]["boundObjectRef"]["name"] for r in wire.requests]


def test_rotated_credentials_are_picked_up_at_the_next_refresh_for_all_audiences(
    file: Path, timing: FakeTiming, door: Door
) -> None:
    timing.jitter_value = 0.5
    wire = FakeSend(door)
    credentials = from_file(file, wire, timing)
    credentials.token()
    credentials.token("other")
    write(file, "second")
    credentials.token()
    assert credentials.secret_name == "first", "not looked at before it is needed"
    timing.fake_clock.advance(1800)
    credentials.token()
    timing.do_begun()
    assert credentials.secret_name == "second"
    credentials.token("other")
    timing.do_begun()
    assert bound(wire) == ["first", "first", "second", "second"]


def test_a_refused_long_lived_token_is_reread_and_the_exchange_retried_once(
    file: Path, timing: FakeTiming, door: Door, ask: Ask
) -> None:
    def answer_by_secret(request: HttpRequest) -> bytes:
        if b"second" not in request.body:
            write(file, "second")  # somebody rotates at this very moment
            return status_answer(401, "Unauthorized")
        return door(request)

    wire = FakeSend(answer_by_secret)
    assert number(ask(from_file(file, wire, timing))) == 1
    assert bound(wire) == ["first", "second"]


def test_new_credentials_are_used_immediately_despite_a_backoff(
    file: Path, timing: FakeTiming, ask: Ask
) -> None:
    refuse = status_answer(401, "Unauthorized")
    wire = FakeSend(lambda r: token_answer() if b"second" in r.body else refuse)
    credentials = from_file(file, wire, timing)
    for _ in range(2):
        with pytest.raises(ExchangeRefusedError):
            ask(credentials)
    assert len(wire.requests) == 1
    write(file, "second")
    assert number(ask(credentials)) == 1


def test_another_identity_in_the_file_drops_the_tokens_of_the_first(
    file: Path, timing: FakeTiming, door: Door
) -> None:
    timing.jitter_value = 0.5
    wire = FakeSend(door)
    credentials = from_file(file, wire, timing)
    credentials.token()
    credentials.token("other")
    write(file, "x", token=long_lived_token(service_account="another"))
    timing.fake_clock.advance(1800)
    credentials.token()
    timing.do_begun()
    assert number(credentials.token()) == 3
    assert number(credentials.token("other")) == 4
    assert credentials.service_account == "another"


def test_an_exchange_that_began_before_another_identity_leaves_no_token_of_the_first(
    file: Path, timing: FakeTiming, door: Door
) -> None:
    def answer_after_the_change(request: HttpRequest) -> bytes:
        if len(wire.requests) == 1:
            write(file, "x", token=long_lived_token(service_account="another"))
            credentials.token("other")
        return door(request)

    wire = FakeSend(answer_after_the_change)
    credentials = from_file(file, wire, timing)
    credentials.token()
    assert credentials.service_account == "another"
    assert number(credentials.token()) == 3
    assert number(credentials.token()) == 3


def test_a_broken_credentials_file_is_reported_once_the_old_credentials_are_refused(
    file: Path, timing: FakeTiming, door: Door
) -> None:
    wire = FakeSend(door)
    credentials = from_file(file, wire, timing)
    file.chmod(0o644)
    assert number(credentials.token()) == 1
    door.fault = status_answer(401, "Unauthorized")
    for _ in range(3):
        with raises(DaypassError, match=r"credentials\.json") as raised:
            credentials.token("other")
        assert raised.value.exit_code == 2
    assert len(wire.requests) == 2, "a file that stays broken is no reason to ask again"
    door.fault = None
    write(file, "second")
    assert number(credentials.token("other")) == 2
