"""Every finding about a gate, by the response that leads to it."""

from __future__ import annotations

import json

import pytest

from daypass._core.reasons import Reason
from daypass.client.http1 import HttpResponse
from daypass.gate.decision import GateRequest, Rules, decide
from daypass.verification.checks import forged_token, judge_forged, judge_gate
from daypass.verification.report import Level
from unit.verification.judging import answer, status, worded

STATUS = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no"})


@pytest.mark.parametrize(
    ("response", "level", "values"),
    [
        (answer(401, STATUS), Level.OK, ["401 no"]),
        (answer(403, STATUS), Level.OK, ["403"]),
        (answer(503, STATUS), Level.WARNING, ["503"]),
        (answer(403, "RBAC: access denied"), Level.WARNING, ["403"]),
        (answer(302, location="https://login/"), Level.FAILURE, ["https://login/"]),
        (answer(200, "<html>"), Level.FAILURE, ["200"]),
        (answer(404, "not found"), Level.FAILURE, ["404"]),
        (answer(503, "no healthy upstream"), Level.FAILURE, ["503"]),
    ],
    ids=["401", "403", "503", "Istio", "redirect", "200", "404", "no upstream"],
)
def test_a_forged_token_must_be_refused_with_a_kubernetes_status(
    response: HttpResponse, level: Level, values: list[str]
) -> None:
    finding = worded(judge_forged(response))
    assert finding.level is level
    assert [value for value in values if value not in finding.fact] == []


@pytest.mark.parametrize(("signed", "reason"), [(False, Reason.SIGNATURE), (True, Reason.ALLOWED)])
def test_a_forged_token_is_valid_except_for_its_signature(signed: bool, reason: Reason) -> None:
    rules = Rules(hosts=frozenset({"h"}), issuer="i", audience="a", longest_lifetime_seconds=3600)
    line = ("authorization", f"Bearer {forged_token('i', 'a', 1000.0)}")
    found = decide(GateRequest(host="h", headers=(line,)), rules, 1000.0, signed=signed)
    assert found.reason is reason


@pytest.mark.parametrize(
    ("response", "level"),
    [
        (answer(200), Level.OK),
        (answer(404, "<html>", content_type="text/html"), Level.OK),
        (answer(302, location="/pipeline/"), Level.OK),
        (answer(302, location="https://x/dex/auth"), Level.FAILURE),
        (status(401, "Jwt is expired"), Level.FAILURE),
        (answer(403, "RBAC: access denied"), Level.FAILURE),
    ],
)
def test_the_gate_must_accept_a_valid_token(response: HttpResponse, level: Level) -> None:
    finding = worded(judge_gate(response))
    assert finding.level is level
