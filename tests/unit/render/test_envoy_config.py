"""Envoy's config: the door's files, its own responses, and the cluster of the protected service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daypass.config import Address, Gate
from daypass.config.exposure import Exposure, Refusal, refusals
from daypass.render.envoy.bootstrap import envoy_files, to_json
from daypass.render.envoy.replies import literal, status_replies
from daypass.render.envoy.settings import GateSettings, Protected, Timeouts
from daypass.render.envoy.upstream import MOST_CONNECTIONS, MOST_WEB_SOCKETS, gate_clusters
from daypass.render.envoy.xds import Json
from daypass.rules.decision import Rules
from daypass.rules.patterns import HostPattern
from daypass.rules.published import LOCAL_SHARDS
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


ADDRESS = Address(host="127.0.0.1", port=8080)
GATE_SETTINGS = GateSettings(
    name="default",
    gate=Gate(audience="a", engine="envoy", hosts=("ekf.example.com",)),
    listen=ADDRESS,
    certificates=(),
    protected=Protected(address=ADDRESS),
    rules=Rules(
        hosts=(HostPattern.parse("ekf.example.com"),),
        issuer="i",
        audience="a",
        longest_lifetime_seconds=3600,
    ),
    shards=LOCAL_SHARDS,
    timeouts=Timeouts(idle_seconds=7),
)


@pytest.mark.parametrize(
    ("protected", "protocol"),
    [
        (Protected(address=ADDRESS), "explicit_http_config.http_protocol_options"),
        (Protected(address=ADDRESS, is_http2=True), "explicit_http_config.http2_protocol_options"),
        (Protected(address=ADDRESS, authority_file="ca"), "auto_config.http2_protocol_options"),
    ],
    ids=["http1", "http2", "tls"],
)
def test_every_protocol_has_connection_limits_and_an_idle_timeout(
    protected: Protected, protocol: str
) -> None:
    clusters: Any = gate_clusters(replace(GATE_SETTINGS, protected=protected))
    protocols, most = [protocol], [{MOST_CONNECTIONS}]
    if not protected.is_http2:  # WebSockets need HTTP/1.1
        protocols.append("explicit_http_config.http_protocol_options")
        most.append({MOST_CONNECTIONS, MOST_WEB_SOCKETS})
    for cluster, wanted, limits in zip(clusters, protocols, most, strict=True):
        (threshold,) = cluster["circuit_breakers"]["thresholds"]
        assert set(threshold.values()) == limits
        (options,) = cluster["typed_extension_protocol_options"].values()
        assert options["common_http_protocol_options"] == {"idle_timeout": "7s"}
        config, _, spoken = wanted.partition(".")
        assert set(options[config]) == {spoken}
