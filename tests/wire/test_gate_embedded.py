"""The gate of a stack on one machine, before the embedded API server, and what it sees of it."""

from __future__ import annotations

from pathlib import Path

from daypass._core.reasons import Reason
from daypass._core.secret import Secret
from daypass.local.stack import HOST, LocalStack
from daypass.testing.clock import MovableClock
from support.deadline import eventually
from support.gate_differences import told
from support.raw import Answer, Conversation, connect


class Caller:
    """A connection to the gate that stays open, with one token."""

    def __init__(self, stack: LocalStack, token: Secret) -> None:
        port = stack.supervisor.envoy.ports["gate"]
        self._socket = connect(port, authority_pem=stack.authority.pem, name=HOST)
        self._conversation = Conversation(self._socket)
        lines = ["GET / HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {token.reveal()}"]
        self._request = "\r\n".join([*lines, "", ""]).encode()

    def becomes(self, code: int) -> Answer:
        def ask() -> Answer | None:
            self._conversation.send(self._request)
            answer = self._conversation.answer()
            return answer if answer.code == code else None

        return eventually(f"a {code}", ask)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_a_revoked_identity_is_refused_and_every_other_one_is_not(tmp_path: Path) -> None:
    with LocalStack(tmp_path) as stack:
        bot, other = stack.make_identity(name="bot"), stack.make_identity(name="other")
        with (
            Caller(stack, stack.make_token(bot)) as caller,
            Caller(stack, stack.make_token(other)) as bystander,
        ):
            caller.becomes(200)
            stack.revoke(bot)
            assert told(caller.becomes(401)) is Reason.DENIED
            bystander.becomes(200)
        with Caller(stack, stack.make_token(other)) as newcomer:
            newcomer.becomes(200)


def test_a_gate_without_news_of_revocations_closes(tmp_path: Path) -> None:
    clock = MovableClock()
    with LocalStack(tmp_path, clock=clock) as stack:
        token = stack.make_token(stack.make_identity())
        with Caller(stack, token) as caller:
            caller.becomes(200)
            stack.server.stop()
            caller.becomes(200)
            gate = stack.supervisor.config.gate
            assert gate is not None
            clock.move(gate.close_after_seconds + 1)
            assert told(caller.becomes(503)) is Reason.UNKNOWN
