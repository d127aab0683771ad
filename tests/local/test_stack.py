"""Door and gate with the embedded API server: changed keys and certificates, failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.secret import Secret
from daypass.config.key_set import key_set
from daypass.local import supervisor
from daypass.local.apiserver.tokens import SigningKey
from daypass.local.demo import ask
from daypass.local.settings import address_of
from daypass.local.stack import HOST, LocalStack, stack_config
from daypass.testing import stack as running_stack
from support.deadline import eventually
from support.messages import check, raises
from support.raw import bearer, connect, exchange, get
from support.scrapes import scrape
from support.timing import FakeClock

FOLLOWED_WITHIN_SECONDS = 30.0


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack shared by tests that do not change it."""
    with running_stack() as running:
        yield running


def passes(stack: LocalStack, token: Secret) -> bool:
    return ask(stack, stack.gate, "/", token).code == 200


def within(what: str, happens: Callable[[], bool]) -> None:
    eventually(what, happens, seconds=FOLLOWED_WITHIN_SECONDS)


@contextmanager
def asking_on_an_open_connection(stack: LocalStack, token: Secret) -> Iterator[list[int]]:
    """Request after request on one connection while this lasts; the codes so far."""
    port = stack.supervisor.envoy.ports["gate"]
    request = get(bearer(token), host=HOST)
    codes: list[int] = []
    ended = threading.Event()

    def run() -> None:
        with connect(port, authority_pem=stack.authority.pem, name=HOST) as connection:
            while not ended.is_set():
                codes.append(exchange(connection, request).code)
                if codes[-1] == 0:
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        eventually("the first answer is there", lambda: codes)
        yield codes
    finally:
        ended.set()
        thread.join()


def test_a_stack_that_cannot_be_started_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_ENVOY", "/nowhere/envoy")
    before = set(threading.enumerate())
    with raises(DaypassError, match="/nowhere/envoy"):
        LocalStack(tmp_path)
    eventually("no thread is left", lambda: not set(threading.enumerate()) - before)


def test_a_new_key_is_accepted_and_a_retired_one_refused_even_on_open_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No request is lost in between."""
    with running_stack() as stack:
        old, (old_key,) = stack.make_token(stack.make_identity()), stack.server.key_set["keys"]
        key = SigningKey.generate()
        new = Secret(key.sign(decode_unverified(old.reveal())[1]))

        def publish(*keys: Mapping[str, str]) -> None:
            text = key_set(json.dumps({"keys": keys}))
            monkeypatch.setattr(supervisor, "keys_for", lambda *_: text)

        with asking_on_an_open_connection(stack, old) as codes:

            def is_asked_on_and_on() -> None:
                so_far = len(codes)
                eventually("it is asked with on and on", lambda: len(codes) > so_far + 20)

            publish(key.jwk(), old_key)
            within("a token by the new key passes", lambda: passes(stack, new))
            is_asked_on_and_on()
            assert set(codes) == {200}
            publish(key.jwk())
            within("the old one is refused", lambda: codes[-1] == 401)
            is_asked_on_and_on()
        refused = codes.index(401)
        assert set(codes[:refused]) == {200}
        assert set(codes[refused:]) == {401}
        assert passes(stack, new)


def test_without_its_api_server_the_gate_keeps_its_keys_and_the_door_answers_503() -> None:
    with running_stack() as stack:
        token = stack.make_token(stack.make_identity())

        def told() -> list[str]:
            return [line for line in stack.said if line.startswith("the gate does not see")]

        taken = len(told())
        stack.server.stop()
        within("it is reported", lambda: len(told()) > taken)
        assert passes(stack, token)
        reply = ask(stack, stack.door, PROBE_PATH)
        assert reply.code == 503
        assert reply.document["kind"] == "Status"
        check(reply.message, reason=reply.document["reason"])
        check(told()[taken].splitlines()[0], reason="log")


def served_certificates(stack: LocalStack) -> set[bytes | None]:
    """The certificates of door and gate."""
    found = set()
    for part in ("door", "gate"):
        port = stack.supervisor.envoy.ports[part]
        with connect(port, authority_pem=stack.authority.pem, name=HOST) as connection:
            found.add(connection.getpeercert(binary_form=True))
    return found


def test_a_certificate_of_its_own_is_renewed_while_it_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    clock = FakeClock(unix=SYSTEM_CLOCK.unix() - 40 * 86400)
    with LocalStack(tmp_path_factory.mktemp("s"), clock=clock, server_clock=SYSTEM_CLOCK) as stack:
        pid = stack.supervisor.envoy.process.pid
        first = served_certificates(stack)
        stack.supervisor.check()
        assert served_certificates(stack) == first
        clock.advance(40 * 86400)
        stack.supervisor.check()
        eventually("they are new", lambda: not served_certificates(stack) & first)
        assert stack.supervisor.envoy.process.pid == pid


def test_localhost_is_the_ipv4_address_if_it_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", ("::1", 0, 0, 0)), (0, 0, 0, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    assert address_of("localhost") == "127.0.0.1"


def test_metrics_are_served_at_the_address_of_the_config(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = stack_config().replace("local: {", 'local: {metrics: "127.0.0.1:0", ')
    with LocalStack(tmp_path_factory.mktemp("s"), config=config) as stack:
        address = f"127.0.0.1:{stack.supervisor.envoy.ports['metrics']}"
        assert "envoy_server_live{} 1" in scrape(address)
