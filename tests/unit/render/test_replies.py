"""The door's own responses in the Envoy config."""

from __future__ import annotations

from daypass._core.reasons import REASON_HEADER, Reason
from daypass.config.exposure import Exposure, Refusal, refusals
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.replies import literal, status_replies

EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com",))


def by_code(config: Json) -> dict[int, Json]:
    """The response mappers by status code; the last one is for all other codes."""
    *mappers, _ = config["mappers"]
    return {
        mapper["filter"]["status_code_filter"]["comparison"]["value"]["default_value"]: mapper
        for mapper in mappers
    }


def test_each_refusal_and_any_other_code_becomes_a_kubernetes_status() -> None:
    mappers = by_code(status_replies(refusals(EXPOSURE)))
    for refusal in refusals(EXPOSURE):
        status = mappers[refusal.code]["body_format_override"]["json_format"]
        assert status == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
            "reason": refusal.reason,
            "code": refusal.code,
        }
    other = status_replies(())["body_format"]["json_format"]
    assert (other["kind"], other["code"]) == ("Status", "%RESPONSE_CODE%")


def test_a_message_is_escaped_for_the_envoy_formatter() -> None:
    refusal = Refusal(code=404, reason="NotFound", message="100% of %REQ(AUTHORIZATION)%")
    mapper, _ = status_replies([refusal])["mappers"]
    message = mapper["body_format_override"]["json_format"]["message"]
    assert message == "100%% of %%REQ(AUTHORIZATION)%%" == literal(refusal.message)


def test_responses_have_the_headers_required_by_their_code() -> None:
    mappers = by_code(status_replies(refusals(EXPOSURE)))
    added = {
        code: {h["header"]["key"]: h["header"]["value"] for h in mapper["headers_to_add"]}
        for code, mapper in mappers.items()
    }
    reasons = [headers.pop(REASON_HEADER) for headers in added.values()]
    assert len(reasons) == len(set(reasons)) == len(added)
    assert not set(reasons) & set(Reason), "a client tells the gate from the door by the reason"
    assert {code: headers for code, headers in added.items() if headers} == {
        401: {"www-authenticate": "Bearer"},
        405: {"allow": "GET, POST"},
        429: {"retry-after": "1"},
        503: {"retry-after": "1"},
    }
