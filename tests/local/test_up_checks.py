"""Each of the three checks with the embedded API server, and changes between them."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daypass.local.gate_services import LocalAuthorizer
from daypass.local.stack import LocalStack, stack_config
from support.deadline import eventually
from support.messages import check as check_message

CHECKS = ("jwt", "review", "both")


def config(check: str) -> str:
    return stack_config().replace("engine: envoy,", f"engine: envoy, check: {check},")


@pytest.fixture(params=CHECKS)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    folder: Path = tmp_path_factory.mktemp("s")
    with LocalStack(folder, config=config(request.param)) as running:
        yield running


def code(stack: LocalStack, token: str) -> int:
    """Of a request with this token."""
    context = ssl.create_default_context(cafile=str(stack.authority_file))  # noqa: TID251
    port = stack.supervisor.edge.ports["gate"]
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_token_passes_until_its_secret_is_deleted(stack: LocalStack) -> None:
    identity = stack.make_identity()
    token = stack.make_token(identity).reveal()
    assert code(stack, token) == 200
    assert code(stack, stack.make_token(identity, bound=False).reveal()) == 403
    assert code(stack, stack.make_token(identity, expired=True).reveal()) == 401
    stack.revoke(identity)
    eventually("it is refused", lambda: code(stack, token) == 401)


def test_revoked_tokens_stay_refused_after_envoy_is_killed(stack: LocalStack) -> None:
    identities = [stack.make_identity(name=name) for name in ("one", "other")]
    revoked, good = (stack.make_token(each).reveal() for each in identities)
    assert (code(stack, revoked), code(stack, good)) == (200, 200)
    stack.revoke(identities[0])
    eventually("it is refused", lambda: code(stack, revoked) == 401)
    os.kill(stack.supervisor.edge.envoy.pid, signal.SIGKILL)
    eventually("it has ended", lambda: not stack.supervisor.edge.envoy.running())
    with pytest.raises(OSError, match="refused"):
        code(stack, good)
    stack.supervisor.check(threading.Event())
    assert (code(stack, revoked), code(stack, good)) == (401, 200)


def end_thread(authorizer: LocalAuthorizer) -> None:
    authorizer._loop.call_soon_threadsafe(authorizer._loop.stop)
    eventually("its thread has ended", lambda: not authorizer._thread.is_alive())


def end_work(authorizer: LocalAuthorizer) -> None:
    ticker = authorizer._service.authorizer._ticker
    assert ticker is not None
    authorizer._loop.call_soon_threadsafe(ticker.cancel)
    eventually("its work has ended", ticker.done)


def remove_socket(authorizer: LocalAuthorizer) -> None:
    """As a cleaner of /tmp does."""
    authorizer.path.unlink()


@pytest.mark.parametrize("end", [end_thread, end_work, remove_socket])
@pytest.mark.parametrize("check", ["review", "both"])
def test_a_dead_authorizer_closes_the_gate_until_its_replacement_is_up(
    tmp_path_factory: pytest.TempPathFactory,
    check: str,
    end: Callable[[LocalAuthorizer], None],
) -> None:
    with LocalStack(tmp_path_factory.mktemp("s"), config=config(check)) as stack:
        identities = [stack.make_identity(name=name) for name in ("one", "two", "other")]
        one, two, other = (stack.make_token(each).reveal() for each in identities)
        assert [code(stack, token) for token in (one, two, other)] == [200, 200, 200]
        stack.revoke(identities[0])
        eventually("it is refused", lambda: code(stack, one) == 401)
        authorizer = stack.supervisor._authorizers._current
        assert authorizer is not None
        end(authorizer)
        stack.revoke(identities[1])
        unseen = stack.make_token(identities[2]).reveal()
        # A token that was never checked is refused; a cached decision may still apply.
        dead = Counter(code(stack, token) for token in (one, two, unseen))
        assert set(dead) <= {200, 401, 503}, dead
        if end is end_thread:
            assert not dead[200], dead
        stack.supervisor.check(threading.Event())
        assert "authorizer" in stack.said[-1]
        check_message(stack.said[-1], reason="log")
        reported = len(stack.said)
        alive = Counter(code(stack, token) for token in [other, unseen] * 10)
        assert alive == {200: 20}
        assert Counter(code(stack, token) for token in [one, two] * 5) == {401: 10}
        stack.supervisor.check(threading.Event())
        assert not [line for line in stack.said[reported:] if "authorizer" in line]


def test_the_check_changes_while_it_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    with LocalStack(tmp_path_factory.mktemp("s"), config=config("jwt")) as stack:
        identity = stack.make_identity()
        token = stack.make_token(identity).reveal()
        other = stack.make_token(identity, audiences=["other"]).reveal()
        for check in ("review", "both", "jwt", "both", "review"):
            stack.config_file.write_text(config(check))
            stack.supervisor.check(threading.Event(), force=True)
            assert stack.said[-1].startswith("daypass.yaml "), stack.said
            assert code(stack, token) == 200
            assert code(stack, other) == 403
        check_message(stack.said[-1], reason="log")
        stack.revoke(identity)
        eventually("it is refused", lambda: code(stack, token) == 401)
