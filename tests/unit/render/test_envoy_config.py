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
from daypass.render.envoy.xds import Json, duration
from daypass.rules.decision import Rules
from daypass.rules.patterns import HostPattern
from daypass.rules.published import LOCAL_SHARDS
from daypass.rules.reasons import REASON_HEADER, Reason
from golden.door_setting import FOLDER, SETTINGS


def files_of(**changes: object) -> dict[str, Json]:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return envoy_files(settings, FOLDER, admin_socket="admin.sock")


def manager(files: dict[str, Json]) -> Json:
    chain = files["envoy.json"]["static_resources"]["listeners"][0]["filter_chains"][0]
    (found,) = (f for f in chain["filters"] if f["name"].endswith("http_connection_manager"))
    config: Json = found["typed_config"]
    return config


def test_no_file_contains_a_secret() -> None:
    text = "".join(map(to_json, files_of().values()))
    assert "BEGIN" not in text
    # Lua's code is the only text in place; keys and certificates are files.
    assert text.count("inline") == text.count('"inline_string": "local reading, ')


def test_the_admin_interface_is_a_unix_socket_with_mode_0600() -> None:
    admin = files_of()["envoy.json"]["admin"]
    assert admin == {"address": {"pipe": {"path": "admin.sock", "mode": 0o600}}}


def test_the_path_is_not_normalized_and_no_upgrade_is_configured() -> None:
    config = manager(files_of())
    assert (config["normalize_path"], config["merge_slashes"]) == (False, False)
    assert config["path_with_escaped_slashes_action"] == "KEEP_UNCHANGED"
    assert config["http_protocol_options"]["allow_absolute_url"] is False
    assert "upgrade_configs" not in config
    assert "allow_connect" not in config["http2_protocol_options"]


def test_a_request_is_forwarded_once_and_only_if_it_meets_every_condition() -> None:
    configuration = manager(files_of())["route_config"]
    ours, others = configuration["virtual_hosts"]
    assert (ours["domains"], others["domains"]) == (list(SETTINGS.exposure.hosts), ["*"])
    assert not [route for route in others["routes"] if "route" in route]
    for host in (ours, others):
        last = host["routes"][-1]
        assert last["match"] == {"prefix": "/"}
        assert last["direct_response"] == {"status": 404}
    paths = {f"^(?:{pattern})$" for pattern in SETTINGS.exposure.path_patterns}
    forwarding = [route for route in ours["routes"] if "route" in route]
    assert len(forwarding) == 3
    for route in forwarding:
        matchers = route["match"]["headers"]
        by_name = {each["name"]: each for each in matchers}
        assert by_name.keys() == {":path", ":method", "authorization", "content-type"}
        found = [each["string_match"] for each in matchers if each["name"] == ":path"]
        assert {each["safe_regex"]["regex"] for each in found} == paths
        assert not [each for each in matchers if each.get("invert_match")]
        if by_name["authorization"].get("present_match") is False:
            assert by_name[":method"]["string_match"] == {"exact": "GET"}
        else:
            assert "safe_regex" in by_name["authorization"]["string_match"]
        assert "retry_policy" not in route["route"]
    (added,) = configuration["request_headers_to_add"]
    assert added["header"]["key"] == "x-forwarded-for"
    assert added["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"


def test_rate_limits_come_before_the_body_is_read() -> None:
    names = [filter_["name"] for filter_ in manager(files_of())["http_filters"]]
    assert names == [
        "daypass.rate_limit.source",
        "daypass.rate_limit.all",
        "daypass.rate_limit.late",
        "daypass.drain",
        "envoy.filters.http.buffer",
        "daypass.late_refusals",
        "envoy.filters.http.router",
    ]
    lifted = [filter_["name"] for filter_ in manager(files_of(rate_limits=None))["http_filters"]]
    assert lifted == names[3:]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (0.05, "0.05s"), (1.5, "1.5s"), (10.0, "10s"), (0.001, "0.001s"), (600, "600s")],
)
def test_a_duration_is_written_in_protobuf_json_form(seconds: float, text: str) -> None:
    assert duration(seconds) == text


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
