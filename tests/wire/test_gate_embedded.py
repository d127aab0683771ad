"""The gate of a stack on one machine, before the embedded API server, and what it sees of it."""

from __future__ import annotations

from pathlib import Path

from daypass._core.reasons import Reason
from daypass.local.stack import HOST, LocalStack
from daypass.testing.clock import MovableClock
from support.gate_differences import told
from support.raw import Caller, Conversation, connect


def test_a_gate_without_news_of_revocations_closes(tmp_path: Path) -> None:
    clock = MovableClock()
    with LocalStack(tmp_path, clock=clock) as stack:
        port, pem = stack.supervisor.envoy.ports["gate"], stack.authority.pem
        with connect(port, authority_pem=pem, name=HOST) as connection:
            token = stack.make_token(stack.make_identity())
            caller = Caller(Conversation(connection), HOST, token)
            caller.becomes(200)
            stack.server.stop()
            caller.becomes(200)
            gate = stack.supervisor.config.gate
            assert gate is not None
            clock.move(gate.close_after_seconds + 1)
            assert told(caller.becomes(503)) is Reason.UNKNOWN
