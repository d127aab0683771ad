"""The hints in refusals of the gate lead to a valid token."""

from __future__ import annotations

import json

import pytest

from daypass.config import IstioGate
from daypass.gate.authorizer.served_gate import AuthzResponses
from daypass.render.envoy.replies import refusal_reply
from daypass.rules.reasons import CODES, MESSAGES, Reason
from support.messages import check
from unit.gate.reviewing import body_of

AUDIENCE = "gate.example.com"
ANSWERS = AuthzResponses(IstioGate(audience=AUDIENCE))
REFUSED = [each for each in Reason if CODES.get(each, 401) in (401, 403)]


def messages(reason: Reason) -> list[str]:
    """The message of the authorizer, and the one of Envoy."""
    reply = refusal_reply(reason, AUDIENCE, "true")
    native = reply["body_format_override"]["json_format"]["message"]
    return [json.loads(body_of(ANSWERS.refused(reason)))["message"], native]


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_names_the_command_for_a_valid_token(reason: Reason) -> None:
    for message in dict.fromkeys(messages(reason)):
        check(message, reason=reason)
        if reason in (Reason.NOT_ALLOWED, Reason.MODEL):
            assert "daypass token" not in message
            continue
        line = f"daypass token --audience {AUDIENCE}"
        if reason is Reason.DENIED:
            line = "daypass token --clear-cache"
        elif reason in (Reason.UNKNOWN_CREDENTIAL, Reason.REVIEW_REFUSED):
            line = f"daypass doctor --audience {AUDIENCE}"
        assert f"`{line}`" in message


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.ALLOWED])
def test_a_refusal_is_a_kubernetes_status_with_the_message_of_its_reason(reason: Reason) -> None:
    answer = ANSWERS.refused(reason)
    status = json.loads(body_of(answer))
    assert (status["kind"], status["code"]) == ("Status", CODES.get(reason, 401))
    assert MESSAGES[reason] in status["message"]
    if reason not in REFUSED:
        check(status["message"], reason=reason)
    assert f"\r\ndaypass-reason: {reason}\r\n".encode() in answer.http_head
    assert b"\r\nlocation:" not in answer.http
