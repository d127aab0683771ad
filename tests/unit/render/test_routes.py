"""The door's routes: only requests that match every condition are forwarded."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from daypass.config.exposure import Exposure, Verdict
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.routes import route_configuration
from daypass.render.envoy.settings import SocketAddress, Timeouts, Upstream
from golden.door_setting import SETTINGS

EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com", "::1"))
UPSTREAM = Upstream(
    address=SocketAddress(host="10.0.0.1", port=443),
    authority_file="/ca.crt",
    server_name="fd00::1",
)


@pytest.fixture
def configuration() -> Json:
    """The routes of a door."""
    return route_configuration(
        replace(
            SETTINGS,
            exposure=EXPOSURE,
            upstream=UPSTREAM,
            timeouts=Timeouts(answer_seconds=2.5),
        )
    )


def routes(configuration: Json) -> list[Json]:
    """All routes of all virtual hosts."""
    return [*chain.from_iterable(host["routes"] for host in configuration["virtual_hosts"])]


def matchers(route: Json) -> dict[str, list[Json]]:
    """A route's header matchers, by header."""
    by_name: dict[str, list[Json]] = {}
    for matcher in route["match"].get("headers", []):
        by_name.setdefault(matcher["name"], []).append(matcher)
    return by_name


def test_every_route_forwards_or_responds(configuration: Json) -> None:
    for route in routes(configuration):
        assert ("route" in route) != ("direct_response" in route)


def test_forwarding_routes_match_path_method_authorization_and_media_type(
    configuration: Json,
) -> None:
    forwarding = [route for route in routes(configuration) if "route" in route]
    assert len(forwarding) == 3
    for route in forwarding:
        asked = matchers(route)
        assert asked.keys() == {":path", ":method", "authorization", "content-type"}
        paths = {matcher["string_match"]["safe_regex"]["regex"] for matcher in asked[":path"]}
        assert paths == {f"^(?:{pattern})$" for pattern in EXPOSURE.path_patterns}
        assert not any(m.get("invert_match") for m in chain.from_iterable(asked.values()))


def test_only_a_get_may_come_without_authorization(configuration: Json) -> None:
    for route in routes(configuration):
        if "route" not in route:
            continue
        asked = matchers(route)
        (method,), (authorization,) = asked[":method"], asked["authorization"]
        if "safe_regex" not in authorization.get("string_match", {}):
            assert method["string_match"] == {"exact": "GET"}
            assert authorization == {"name": "authorization", "present_match": False}


def test_the_last_route_of_every_host_is_a_refusal(configuration: Json) -> None:
    for host in configuration["virtual_hosts"]:
        last = host["routes"][-1]
        assert last["match"] == {"prefix": "/"}
        assert last["direct_response"] == {"status": Verdict.NOT_PUBLISHED.value}


def test_unknown_hosts_have_no_forwarding_route(configuration: Json) -> None:
    ours, others = configuration["virtual_hosts"]
    assert ours["domains"] == ["ekf.example.com", "[::1]"]
    assert others["domains"] == ["*"]
    assert not any("route" in route for route in others["routes"])


def test_requests_are_forwarded_with_the_api_server_host_and_without_the_prefix(
    configuration: Json,
) -> None:
    for route in routes(configuration):
        if "route" in route:
            assert route["route"]["host_rewrite_literal"] == "[fd00::1]"
            assert route["match"]["prefix"] == "/kubernetes/api/v1/namespaces/"
            assert route["route"]["prefix_rewrite"] == "/api/v1/namespaces/"
            assert route["route"]["timeout"] == "2.5s"


def test_requests_are_never_retried(configuration: Json) -> None:
    for route in routes(configuration):
        assert "retry_policy" not in route.get("route", {})


def test_x_forwarded_for_is_overwritten(configuration: Json) -> None:
    (added,) = configuration["request_headers_to_add"]
    assert added["header"]["key"] == "x-forwarded-for"
    assert added["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
