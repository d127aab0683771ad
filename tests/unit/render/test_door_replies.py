"""The door's own answers as Envoy's config."""

from __future__ import annotations

from daypass.render.envoy.replies import literal, status_replies
from daypass.render.envoy.typed import Json
from daypass.spec.exposure import Exposure, Refusal, refusals

EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com",))


def by_code(config: Json) -> dict[int, Json]:
    """The mappers by the code that they are for."""
    return {
        mapper["filter"]["status_code_filter"]["comparison"]["value"]["default_value"]: mapper
        for mapper in config["mappers"]
    }


def test_each_refusal_becomes_a_status_of_its_code() -> None:
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


def test_a_code_without_a_refusal_is_a_status_too() -> None:
    status = status_replies(())["body_format"]["json_format"]
    assert (status["kind"], status["code"]) == ("Status", "%RESPONSE_CODE%")


def test_a_message_is_text_and_no_command_of_envoys_formatter() -> None:
    refusal = Refusal(code=404, reason="NotFound", message="100% of %REQ(AUTHORIZATION)%")
    (mapper,) = status_replies([refusal])["mappers"]
    message = mapper["body_format_override"]["json_format"]["message"]
    assert message == "100%% of %%REQ(AUTHORIZATION)%%" == literal(refusal.message)


def test_answers_carry_the_headers_that_their_codes_ask_for() -> None:
    mappers = by_code(status_replies(refusals(EXPOSURE)))
    added = {
        code: {h["header"]["key"]: h["header"]["value"] for h in mapper["headers_to_add"]}
        for code, mapper in mappers.items()
        if "headers_to_add" in mapper
    }
    assert added == {
        401: {"www-authenticate": "Bearer"},
        405: {"allow": "GET, POST"},
        429: {"retry-after": "1"},
        503: {"retry-after": "1"},
    }
