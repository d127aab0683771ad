"""`daypass.testing` as other projects use it: the fixtures, and the examples of the docs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import daypass
import daypass.testing
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass.client.errors import ExchangeRefusedError
from daypass.local.demo import ask
from daypass.local.stack import AUDIENCE, LocalStack, MadeIdentity
from daypass.testing import MovableClock
from support.deadline import eventually
from support.ports import listens
from support.up import runtime_folder

TokenMaker = Callable[..., Secret]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pytest.md"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
UP_WITHIN_SECONDS, DOWN_WITHIN_SECONDS = 60.0, 30.0
"""Four times what is promised, for a machine that does other things, too."""
MEGABYTES = 250


def code_at_the_gate(stack: LocalStack, token: Secret) -> int:
    return ask(stack, stack.gate, "/", token).code


def is_good_for_the_api_server(stack: LocalStack, token: Secret) -> bool:
    spec = {"token": token.reveal(), "audiences": [AUDIENCE]}
    review = stack.cluster.request("POST", REVIEWS, {"spec": spec}, what="review")
    return bool(review["status"].get("authenticated", False))


def test_credentials_give_a_token_that_passes_the_gate(
    daypass_stack: LocalStack, daypass_credentials: daypass.Credentials
) -> None:
    assert code_at_the_gate(daypass_stack, daypass_credentials.token().value) == 200


def test_the_environment_names_the_identity_of_this_test(
    daypass_environment: MadeIdentity, daypass_identity: MadeIdentity
) -> None:
    loaded = daypass.Credentials.load()
    assert (loaded.namespace, loaded.secret_name) == (
        daypass_identity.namespace,
        daypass_identity.secret_name,
    )
    assert daypass_environment is daypass_identity


def test_a_token_is_valid_unless_the_test_asks_otherwise(
    daypass_stack: LocalStack, daypass_token: TokenMaker
) -> None:
    assert code_at_the_gate(daypass_stack, daypass_token()) == 200
    assert code_at_the_gate(daypass_stack, daypass_token(lifetime_seconds=600)) == 200
    assert code_at_the_gate(daypass_stack, daypass_token(audiences=["elsewhere"])) == 403
    assert code_at_the_gate(daypass_stack, daypass_token(audiences=[AUDIENCE, "other"])) == 403
    assert code_at_the_gate(daypass_stack, daypass_token(audiences=[])) == 403
    assert code_at_the_gate(daypass_stack, daypass_token(bound=False)) == 403
    assert code_at_the_gate(daypass_stack, daypass_token(expired=True)) == 401


def test_a_moved_clock_expires_tokens_at_the_api_server_and_not_at_the_gate(
    daypass_stack: LocalStack, daypass_token: TokenMaker, daypass_clock: MovableClock
) -> None:
    token = daypass_token()
    assert is_good_for_the_api_server(daypass_stack, token)
    daypass_clock.move(3700)
    assert not is_good_for_the_api_server(daypass_stack, token)
    assert code_at_the_gate(daypass_stack, token) == 200


def test_the_clock_is_reset_after_each_test(daypass_clock: MovableClock) -> None:
    assert daypass_clock.ahead_seconds == 0


@pytest.mark.parametrize(("seconds", "words"), [(300, "not valid yet"), (-3700, "expired")])
def test_a_token_made_with_a_moved_clock_is_not_valid_yet_or_has_expired(
    daypass_stack: LocalStack, daypass_token: TokenMaker, daypass_clock: MovableClock,
    seconds: int, words: str,
) -> None:  # fmt: skip
    daypass_clock.move(seconds)
    reply = ask(daypass_stack, daypass_stack.gate, "/", daypass_token())
    assert (reply.code, words in reply.message) == (401, True), reply


def test_a_revocation_counts_at_the_gate_soon_and_at_the_api_server_after_ten_seconds(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity, daypass_clock: MovableClock
) -> None:
    token = daypass_identity.credentials().token().value
    assert code_at_the_gate(daypass_stack, token) == 200
    assert is_good_for_the_api_server(daypass_stack, token)
    daypass_stack.revoke(daypass_identity)
    assert is_good_for_the_api_server(daypass_stack, token)
    eventually("it is refused", lambda: code_at_the_gate(daypass_stack, token) == 401)
    daypass_clock.move(11)
    assert not is_good_for_the_api_server(daypass_stack, token)
    with pytest.raises(ExchangeRefusedError):
        daypass_identity.credentials().token()


def test_it_works_without_pytest_starts_fast_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = runtime_folder(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    before = set(threading.enumerate())
    started = SYSTEM_CLOCK.monotonic()
    with daypass.testing.stack() as stack:
        assert SYSTEM_CLOCK.monotonic() - started < UP_WITHIN_SECONDS
        assert code_at_the_gate(stack, stack.make_token(stack.make_identity())) == 200
        pid = stack.supervisor.envoy.process.pid
        ports = [*stack.supervisor.envoy.ports.values(), stack.server.port]
        assert all(listens(port) for port in ports)
        ending = SYSTEM_CLOCK.monotonic()
    assert SYSTEM_CLOCK.monotonic() - ending < DOWN_WITHIN_SECONDS
    assert list(runtime.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()
    assert not any(listens(port) for port in ports)
    eventually("no thread is left", lambda: not set(threading.enumerate()) - before)


def test_every_fixture_is_in_the_docs(request: pytest.FixtureRequest) -> None:
    from daypass import pytest_plugin

    fixtures = {name for name in vars(pytest_plugin) if name.startswith("daypass_")}
    documented = set(re.findall(r"^\| `(daypass_\w+)`", DOCS.read_text(), re.M))
    assert fixtures == documented
