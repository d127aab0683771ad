"""The gate of a stack on one machine, before the embedded API server, and what it sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daypass._core.reasons import Reason
from daypass.local.stack import HOST, LocalStack, MadeIdentity
from daypass.testing.clock import MovableClock
from support.gate_differences import told
from support.raw import Caller, Conversation, connect


@contextmanager
def calling(stack: LocalStack, identity: MadeIdentity) -> Iterator[Caller]:
    """A caller on a connection to the gate that stays open."""
    port, token = stack.supervisor.envoy.ports["gate"], stack.make_token(identity)
    with connect(port, authority_pem=stack.authority.pem, name=HOST) as connection:
        yield Caller(Conversation(connection), HOST, token)


def test_a_revoked_identity_is_refused_and_every_other_one_is_not(tmp_path: Path) -> None:
    with LocalStack(tmp_path) as stack:
        bot, other = stack.make_identity(name="bot"), stack.make_identity(name="other")
        with (
            calling(stack, bot) as caller,
            calling(stack, other) as bystander,
        ):
            caller.becomes(200)
            stack.revoke(bot)
            assert told(caller.becomes(401)) is Reason.DENIED
            bystander.becomes(200)
        with calling(stack, other) as newcomer:
            newcomer.becomes(200)


def test_a_gate_without_news_of_revocations_closes(tmp_path: Path) -> None:
    clock = MovableClock()
    with (
        LocalStack(tmp_path, clock=clock) as stack,
        calling(stack, stack.make_identity()) as caller,
    ):
        caller.becomes(200)
        stack.server.stop()
        caller.becomes(200)
        gate = stack.supervisor.config.gate
        assert gate is not None
        clock.move(gate.close_after_seconds + 1)
        assert told(caller.becomes(503)) is Reason.UNKNOWN
