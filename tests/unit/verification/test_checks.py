"""Every finding about a door and a gate, by the response that leads to it."""

from __future__ import annotations

import json

import pytest

from daypass._core.findings import Finding, Level
from daypass.client.door import DoorUrl
from daypass.client.http1 import HttpResponse
from daypass.rules.decision import GateRequest, Rules, decide
from daypass.rules.patterns import HostPattern
from daypass.rules.reasons import Reason
from daypass.verification.checks import (
    BlockedRequest,
    VerificationTarget,
    forged_token,
    judge_anonymous,
    judge_blocked,
    judge_forged,
    judge_gate,
    judge_plain_http,
    judge_policy,
    judge_tokenless,
)
from support.messages import check

OK, WARNING, FAILURE = Level.OK, Level.WARNING, Level.FAILURE
DOOR = VerificationTarget(name="ekf", door=DoorUrl.parse("https://ekf.example.com/kubernetes"))
CANNOT = 'serviceaccounts "default" is forbidden: User "{}" cannot get resource "serviceaccounts/token" in API group "" in the namespace "default"'  # noqa: E501
SECRETS = (
    'secrets is forbidden: User "system:anonymous" cannot list resource "secrets" in API group ""'
)
HTML = {"content_type": "text/html"}


def answer(code: int, body: str = "", **headers: str) -> HttpResponse:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpResponse(status=code, headers=named, body=body.encode())


def status(code: int, message: str, **headers: str) -> HttpResponse:
    document = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
    return answer(code, json.dumps(document), content_type="application/json", **headers)


def worded(finding: Finding) -> Finding:
    """The finding, whose wording is in the golden file."""
    text = f"{finding.fact}\n{finding.hint}".strip()
    check(text, reason=f"{finding.check}: {finding.level}")
    return finding


@pytest.mark.parametrize(
    ("response", "level", "values"),
    [
        (status(403, CANNOT.format("system:anonymous")), OK, ["403"]),
        (status(401, "Unauthorized"), OK, ["401"]),
        (status(403, CANNOT.format("system:serviceaccount:x:proxy")), FAILURE,
         ["system:serviceaccount:x:proxy"]),
        (status(200, "", ), FAILURE, ["200"]),
        (status(404, "nothing is published here but the TokenRequest API: POST ..."), FAILURE,
         ["host", "/kubernetes"]),
        (status(401, "the request has no token (the gate takes short-lived tokens ...)"), FAILURE,
         ["gate"]),
        (status(503, "the API server cannot be reached"), FAILURE, ["503", "cluster.server"]),
        (status(404, "the server could not find the requested resource"), FAILURE,
         ["404", "another cluster"]),
        (answer(404, "default backend - 404", content_type="text/plain"), FAILURE,
         ["/kubernetes", "`daypass apply`"]),
        (answer(404, "<html>", **HTML), FAILURE, ["404", "HTML", "`daypass apply`"]),
        (answer(503, "<html>", **HTML), FAILURE, ["503", "HTML", "certificate"]),
        (answer(200, "<html>login</html>", **HTML), FAILURE, ["200", "HTML"]),
        (answer(302, location="https://ekf.example.com/dex/auth?x"), FAILURE,
         ["https://ekf.example.com/dex/auth"]),
        (answer(308, location="https://other.example.com/"), FAILURE, ["https://other.example.com/"]),
        (answer(403, "\x1b[2J<html>", **HTML), FAILURE, ["403"]),
    ],
    ids=["forbidden", "unauthorized", "another user", "status 200", "not published", "gate",
         "no API server", "another server", "no route", "html 404", "html 503", "html 200", "login",
         "redirect", "control characters"],
)  # fmt: skip
def test_a_get_without_a_token_shows_what_answers(
    response: HttpResponse, level: Level, values: list[str]
) -> None:
    finding = worded(judge_anonymous(response, DOOR))
    assert finding.level is level
    text = f"{finding.fact}\n{finding.hint}"
    assert [value for value in values if value not in text] == []
    assert finding.level is OK or finding.hint
    assert "\x1b" not in finding.fact + finding.hint


@pytest.mark.parametrize(
    ("response", "level"),
    [
        (status(401, "no token", www_authenticate="Bearer"), OK),
        (status(403, CANNOT.format("system:anonymous")), WARNING),
        (status(201, "", ), FAILURE),
        (answer(404, "<html>", **HTML), FAILURE),
    ],
)  # fmt: skip
def test_a_post_without_a_token_must_end_at_the_door(response: HttpResponse, level: Level) -> None:
    assert worded(judge_tokenless(response)).level is level


@pytest.mark.parametrize(
    ("response", "level"),
    [
        (None, OK),
        (answer(404, "x"), OK),
        (status(403, "this came to the ingress or gateway over plain http"), OK),
        (answer(308, location="https://ekf.example.com/"), WARNING),
        (answer(302, location="http://ekf.example.com/login"), OK),
        (status(403, CANNOT.format("system:anonymous")), FAILURE),
        (answer(200, "<html>", **HTML), FAILURE),
    ],
)
def test_plain_http_must_be_refused(response: HttpResponse | None, level: Level) -> None:
    assert worded(judge_plain_http(response)).level is level


BLOCKED = BlockedRequest(
    what="the list of Secrets", method="GET", target="/kubernetes/api/v1/secrets"
)


@pytest.mark.parametrize(
    ("response", "level"),
    [
        (None, OK),
        (status(404, "nothing is published here"), OK),
        (answer(404, "<html>", **HTML), OK),
        (status(200, ""), FAILURE),
        (answer(200, "{}"), FAILURE),
        (status(403, SECRETS), FAILURE),
        (status(401, "Unauthorized"), FAILURE),
        (status(403, CANNOT.format("system:anonymous")), WARNING),
    ],
)
def test_blocked_requests_must_not_reach_the_api_server(
    response: HttpResponse | None, level: Level
) -> None:
    finding = worded(judge_blocked(BLOCKED, response))
    assert finding.level is level
    if level is FAILURE:
        assert BLOCKED.target in finding.fact


@pytest.mark.parametrize(
    ("response", "expected", "level"),
    [
        (status(403, "... ValidatingAdmissionPolicy 'daypass' ... denied request"), True, OK),
        (status(422, "... ValidatingAdmissionPolicy 'other' ... denied request"), False, OK),
        (status(404, 'secrets "bot-daypass-x" not found'), True, FAILURE),
        (status(404, 'secrets "bot-daypass-x" not found'), False, WARNING),
        (status(403, "cannot create resource"), True, Level.SKIPPED),
        (answer(502, "<html>"), True, Level.SKIPPED),
    ],
)
def test_the_policy_must_deny_an_unbound_token(
    response: HttpResponse, expected: bool, level: Level
) -> None:
    assert worded(judge_policy(response, expected=expected)).level is level


STATUS = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no"})


@pytest.mark.parametrize(
    ("response", "level", "values"),
    [
        (answer(401, STATUS), OK, ["401 no"]),
        (answer(403, STATUS), OK, ["403"]),
        (answer(503, STATUS), WARNING, ["503"]),
        (answer(403, "RBAC: access denied"), WARNING, ["403"]),
        (answer(302, location="https://login/"), FAILURE, ["https://login/"]),
        (answer(200, "<html>"), FAILURE, ["200"]),
        (answer(404, "not found"), FAILURE, ["404"]),
        (answer(503, "no healthy upstream"), FAILURE, ["503"]),
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
    rules = Rules(
        hosts=(HostPattern.parse("h"),), issuer="i", audience="a", longest_lifetime_seconds=3600
    )
    line = f"Bearer {forged_token('i', 'a', 1000.0)}"
    found = decide(GateRequest(host="h", authorizations=(line,)), rules, 1000.0, signed=signed)
    assert found.reason is reason


@pytest.mark.parametrize(
    ("response", "level"),
    [
        (answer(200), OK),
        (answer(404, "<html>", content_type="text/html"), OK),
        (answer(302, location="/pipeline/"), OK),
        (answer(302, location="/lessons/index.html"), OK),
        (status(403, "no such model", daypass_reason="model"), OK),
        (status(403, "not there", daypass_reason="audience-opening"), OK),
        (status(403, "another audience", daypass_reason="audience"), FAILURE),
        (answer(302, location="https://x/dex/auth"), FAILURE),
        (status(401, "this token has expired"), FAILURE),
        (answer(403, "RBAC: access denied"), FAILURE),
    ],
)
def test_the_gate_must_accept_a_valid_token(response: HttpResponse, level: Level) -> None:
    finding = worded(judge_gate(response))
    assert finding.level is level
