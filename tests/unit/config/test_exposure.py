"""Which headers pass the door, and the door's own responses to other requests."""

from __future__ import annotations

from daypass.config.exposure import REQUEST_HEADERS, Exposure, refusals
from support.door_decision import Verdict
from support.messages import check

EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com", "::1"))


def test_no_impersonation_or_identity_header_is_forwarded() -> None:
    assert "authorization" in REQUEST_HEADERS
    for name in REQUEST_HEADERS:
        assert not name.startswith(("impersonate", "x-remote", "x-envoy", "cookie", ":"))
        assert name == name.lower()


def test_every_refusal_names_what_is_published() -> None:
    answers = {refusal.code: refusal for refusal in refusals(EXPOSURE)}
    for verdict in Verdict:
        if verdict is not Verdict.PASS:
            check(answers[verdict.value].message, reason=answers[verdict.value].reason)
    published = "/kubernetes/api/v1/namespaces/<namespace>/serviceaccounts/<name>/token"
    assert published in answers[404].message
    assert published in answers[405].message
    assert "8192" in answers[413].message
    assert [*answers] == sorted(answers)
