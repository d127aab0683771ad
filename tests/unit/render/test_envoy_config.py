"""Envoy's config: the door's files, its own responses, and the cluster of the protected service."""

from __future__ import annotations

from dataclasses import replace

from daypass.config.exposure import Exposure, Refusal, refusals
from daypass.render.envoy.bootstrap import envoy_files, to_json
from daypass.render.envoy.replies import literal, status_replies
from daypass.render.envoy.xds import Json
from daypass.rules.reasons import Reason
from golden.door_setting import FOLDER, SETTINGS


def files_of(**changes: object) -> dict[str, Json]:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return envoy_files(settings, FOLDER, admin_socket="admin.sock")


def test_no_file_contains_a_secret() -> None:
    text = "".join(map(to_json, files_of().values()))
    assert "BEGIN" not in text
    # Lua's code is the only text in place; keys and certificates are files.
    assert text.count("inline") == text.count('"inline_string": "local reading, ')


def test_a_message_is_escaped_for_the_envoy_formatter() -> None:
    refusal = Refusal(code=404, reason="NotFound", word="x", message="100% of %REQ(AUTHORIZATION)%")
    mapper, _ = status_replies([refusal])["mappers"]
    message = mapper["body_format_override"]["json_format"]["message"]
    assert message == "100%% of %%REQ(AUTHORIZATION)%%" == literal(refusal.message)


def test_a_client_tells_the_gate_from_the_door_by_the_reason() -> None:
    answers = refusals(Exposure(prefix="/kubernetes", hosts=("ekf.example.com",)))
    reasons = {refusal.word for refusal in answers}
    assert len(reasons) == len(answers)
    assert not reasons & set(Reason)
