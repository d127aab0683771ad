"""The hints in refusals of the gate lead to a valid token."""

from __future__ import annotations

import json

import pytest

from daypass._core.reasons import CODES, Reason
from daypass.gate.authorizer.responses import AuthzResponses
from daypass.render.envoy.replies import refusal_reply
from support.messages import check

AUDIENCE = "gate.example.com"
ANSWERS = AuthzResponses(
    audience=AUDIENCE, user_header="user", groups_header="groups", forward_token=False
)
REFUSED = [each for each in Reason if CODES.get(each, 401) in (401, 403)]


def messages(reason: Reason) -> list[str]:
    """The message of the authorizer, and the one of Envoy."""
    reply = refusal_reply(reason, AUDIENCE, "true")
    native = reply["body_format_override"]["json_format"]["message"]
    return [json.loads(ANSWERS.refused(reason).body)["message"], native]


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_names_the_command_for_a_valid_token(reason: Reason) -> None:
    for message in dict.fromkeys(messages(reason)):
        needs_new_credentials = reason in (Reason.DENIED, Reason.REVIEW_REFUSED)
        assert (f"`daypass token --audience {AUDIENCE}`" in message) is not needs_new_credentials
        assert ("administrator" in message) is needs_new_credentials
        check(message, reason=reason)
