"""What the answer to a made-up token means."""

from __future__ import annotations

import json

import pytest

from daypass.audit.closed import judge_closed, made_up_token
from daypass.audit.finding import Level
from daypass.client.http import Response
from daypass.gateway.decision import Request, Rules, decide
from daypass.gateway.reasons import Reason

STATUS = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no"})


def answer(code: int, body: str = "", **headers: str) -> Response:
    named = tuple((name, value) for name, value in headers.items())
    return Response(status=code, headers=named, body=body.encode())


@pytest.mark.parametrize(
    ("response", "level", "words"),
    [
        (answer(401, STATUS), Level.OK, "a made-up token is refused: 401 no"),
        (answer(403, STATUS), Level.OK, "refused: 403"),
        (answer(503, STATUS), Level.WARNING, "refuses everybody"),
        (answer(403, "RBAC: access denied"), Level.WARNING, "not in the gate's words"),
        (answer(302, location="https://login/"), Level.FAILURE, "sent elsewhere: https://login/"),
        (answer(200, "<html>"), Level.FAILURE, "gets past the gate (200"),
        (answer(404, "not found"), Level.FAILURE, "gets past the gate (404"),
        (answer(503, "no healthy upstream"), Level.FAILURE, "gets past the gate (503"),
    ],
)
def test_only_a_refusal_in_words_of_kubernetes_is_good(
    response: Response, level: Level, words: str
) -> None:
    finding = judge_closed(response)
    assert finding.level is level
    assert words in finding.fact


@pytest.mark.parametrize(("signed", "reason"), [(False, Reason.SIGNATURE), (True, Reason.ALLOWED)])
def test_nothing_but_its_signature_is_wrong_with_a_made_up_token(
    signed: bool, reason: Reason
) -> None:
    rules = Rules(hosts=frozenset({"h"}), issuer="i", audience="a", longest_lifetime_seconds=3600)
    line = ("authorization", f"Bearer {made_up_token('i', 'a', 1000.0)}")
    found = decide(Request(host="h", headers=(line,)), rules, 1000.0, signed=signed)
    assert found.reason is reason
