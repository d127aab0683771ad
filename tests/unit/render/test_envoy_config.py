"""Envoy's config: the door's files, its own responses, and the cluster of the protected service."""

from __future__ import annotations

from dataclasses import replace

from daypass.config.exposure import Exposure, Refusal, refusals
from daypass.render.envoy.bootstrap import envoy_files, to_json
from daypass.render.envoy.replies import literal, status_replies
from daypass.render.envoy.xds import Json
from daypass.rules.reasons import REASON_HEADER, Reason
from golden.door_setting import FOLDER, SETTINGS


def files_of(**changes: object) -> dict[str, Json]:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return envoy_files(settings, FOLDER, admin_socket="admin.sock")


def test_no_file_contains_a_secret() -> None:
    text = "".join(map(to_json, files_of().values()))
    assert "BEGIN" not in text
    # Lua's code is the only text in place; keys and certificates are files.
    assert text.count("inline") == text.count('"inline_string": "local reading, ')


EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com",))


def by_code(config: Json) -> dict[int, Json]:
    """The response mappers by status code; the last one is for all other codes."""
    *mappers, _ = config["mappers"]
    return {
        mapper["filter"]["status_code_filter"]["comparison"]["value"]["default_value"]: mapper
        for mapper in mappers
    }


def test_a_message_is_escaped_for_the_envoy_formatter() -> None:
    refusal = Refusal(code=404, reason="NotFound", word="x", message="100% of %REQ(AUTHORIZATION)%")
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
