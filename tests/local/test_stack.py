"""Door and gate with the embedded API server: changed keys, changed configs, failures."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daypass._core.errors import DaypassError
from daypass._core.secret import Secret
from daypass._core.token_bounds import PROBE_PATH
from daypass.config import Config
from daypass.local.api_backend import EmbeddedApiServer
from daypass.local.demo import ask
from daypass.local.settings import address_of
from daypass.local.stack import AUDIENCE, HOST, LocalStack, MadeIdentity, stack_config
from daypass.testing import stack as running_stack
from support.deadline import eventually
from support.messages import check, raises
from support.raw import bearer, connect, exchange, get
from support.scrapes import scrape

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


def test_a_new_key_is_accepted_and_a_retired_one_refused_even_on_open_connections() -> None:
    """No request is lost in between."""
    with running_stack() as stack:
        identity = stack.make_identity()
        (kid,) = stack.server.signing_keys
        old = stack.make_token(identity)
        with asking_on_an_open_connection(stack, old) as codes:

            def is_asked_on_and_on() -> None:
                so_far = len(codes)
                eventually("it is asked with on and on", lambda: len(codes) > so_far + 20)

            stack.server.rotate_signing_key()
            new = stack.make_token(identity)
            within("a token by the new key passes", lambda: passes(stack, new))
            is_asked_on_and_on()
            assert set(codes) == {200}
            stack.server.retire_signing_key(kid)
            within("the old one is refused", lambda: codes[-1] == 401)
            is_asked_on_and_on()
        refused = codes.index(401)
        assert set(codes[:refused]) == {200}
        assert set(codes[refused:]) == {401}
        assert not passes(stack, old)
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


def test_the_door_is_reached_if_localhost_is_ipv6_first(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    asked: list[Any] = []

    def ipv6_first(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        if host not in ("localhost", b"localhost"):
            return real(host, port, *args, **named)
        asked.append(host)
        stream = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET6, *stream, ("::1", port, 0, 0)),
            (socket.AF_INET, *stream, ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", ipv6_first)
    identity = stack.make_identity(name="six")
    assert passes(stack, identity.credentials().token().value)
    assert asked


def _changed(stack: LocalStack, old: str, new: str) -> None:
    text = stack.config_file.read_text()
    assert old in text
    stack.config_file.write_text(text.replace(old, new))


def test_a_changed_audience_is_in_force_without_a_restart() -> None:
    with running_stack() as stack:
        identity = stack.make_identity()
        pid = stack.supervisor.envoy.process.pid
        old = stack.make_token(identity)
        other = stack.make_token(identity, audiences=["other.example.com"])
        assert (passes(stack, old), passes(stack, other)) == (True, False)
        _changed(stack, AUDIENCE, "other.example.com")
        within("the change is in force", lambda: passes(stack, other))
        within("the old audience is refused", lambda: not passes(stack, old))
        assert stack.supervisor.envoy.process.pid == pid


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("engine: envoy", "engine: nginx", "engine"),
        (f"gate: {{audience: {AUDIENCE}", "gate: {audience: ''", "audience"),
        ("version: 1", "version: [", "daypass.yaml"),
        ('door: "localhost:0', 'door: "203.0.113.1:4', "203.0.113.1:4"),
        ("version: 1", "version: 1\nfoo: 1", "'foo'"),
        ("host: localhost, ", "host: LOCALHOST, ", "daypass.yaml:3:"),
        (
            "front: envoy}",
            "front: envoy, tls: {files: {certificate: absent.pem, key: b}}}",
            "absent.pem",
        ),
    ],
    ids=["engine", "audience", "YAML", "address", "key", "host", "certificate"],
)
def test_an_invalid_change_is_refused_and_the_gate_keeps_running(
    old: str, new: str, named: str
) -> None:
    with running_stack() as stack:
        token = stack.make_token(stack.make_identity())
        good = stack.config_file.read_text()
        before = len(stack.said)
        _changed(stack, old, new)
        within("it is refused", lambda: any(named in line for line in stack.said[before:]))
        (refusal,) = (line for line in stack.said[before:] if named in line)
        check(refusal, reason="log", hide=r"\S+/(?=absent|daypass)")
        assert passes(stack, token)
        stack.config_file.write_text(good.replace(AUDIENCE, "other.example.com"))
        within("the next one is taken", lambda: not passes(stack, token))


def test_envoy_restarts_after_a_crash_with_the_keys_it_had() -> None:
    with running_stack() as stack:
        identity: MadeIdentity = stack.make_identity()
        token = stack.make_token(identity)
        ports = stack.supervisor.envoy.ports
        stack.server.stop()  # nobody could give the keys again
        stack.supervisor.envoy.process.stop()
        eventually("the gate is back", lambda: passes(stack, token))
        assert stack.supervisor.envoy.ports == ports

        def reports() -> list[str]:
            return [line for line in stack.said if "Envoy" in line]

        eventually("it is reported", lambda: len(reports()) == 2)
        check(reports()[1], reason="log")


def test_everything_listens_on_ipv6_if_localhost_is_ipv6_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def only_ipv6(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("::1" if host in ("localhost", b"localhost") else host, *args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", only_ipv6)
    with LocalStack(tmp_path) as stack:
        assert {address.host for address in stack.supervisor.envoy.settings.listens.values()} == {
            "::1"
        }
        identity = stack.make_identity()
        assert passes(stack, identity.credentials().token().value)


def test_localhost_is_the_ipv4_address_if_it_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", ("::1", 0, 0, 0)), (0, 0, 0, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    assert address_of("localhost") == "127.0.0.1"


def test_failure_and_recovery_of_reading_keys_are_reported(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: EmbeddedApiServer, config: Config) -> str:
        raise DaypassError("the keys are away")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedApiServer, "keys", fails)
        within("it is reported", lambda: "the keys are away" in stack.said)
    within("recovery is reported", lambda: stack.said[-1] != "the keys are away")


def test_metrics_are_served_at_the_same_port_after_a_restart_and_a_change_needs_a_new_start(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = stack_config().replace("local: {", 'local: {metrics: "127.0.0.1:0", ')
    with LocalStack(tmp_path_factory.mktemp("s"), config=config) as stack:
        envoy = stack.supervisor.envoy
        address = f"127.0.0.1:{envoy.ports['metrics']}"
        assert "envoy_server_live{} 1" in scrape(address)
        envoy.restart()
        assert "envoy_server_live{} 1" in scrape(address)
        stack.config_file.write_text(stack_config())
        stack.supervisor.check(threading.Event())
        check(stack.said[-1], "another address for metrics", reason="log")
        assert "envoy_server_live{} 1" in scrape(address)


def test_without_an_address_there_is_no_port_for_metrics(stack: LocalStack) -> None:
    assert stack.supervisor.envoy.ports.keys() == {"door", "gate"}
