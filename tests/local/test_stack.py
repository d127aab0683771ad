"""Door and gate with the embedded API server: changed certificates, failures."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass.local.demo import ask
from daypass.local.settings import address_of
from daypass.local.stack import HOST, LocalStack, stack_config
from daypass.testing import stack as running_stack
from support.deadline import eventually
from support.messages import check, raises
from support.raw import connect
from support.scrapes import scrape
from support.timing import FakeClock


def test_a_stack_that_cannot_be_started_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_ENVOY", "/nowhere/envoy")
    before = set(threading.enumerate())
    with raises(DaypassError, match="/nowhere/envoy"):
        LocalStack(tmp_path)
    eventually("no thread is left", lambda: not set(threading.enumerate()) - before)


def test_without_its_api_server_the_gate_keeps_its_keys_and_the_door_answers_503() -> None:
    with running_stack() as stack:
        token = stack.make_token(stack.make_identity())

        def told() -> list[str]:
            return [line for line in stack.said if line.startswith("the gate does not see")]

        taken = len(told())
        stack.server.stop()
        eventually("it is reported", lambda: len(told()) > taken)
        assert ask(stack, stack.gate, "/", token).code == 200
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
