"""Attack classes 5, 6 and 18: no Host but a published one, and no header that stands in for it."""

from __future__ import annotations

import pytest

from support.doors import EKF, PATH, SERVING, UPSTREAM_PATH, DoorEnv, post


@pytest.mark.parametrize(
    "host",
    [EKF, SERVING, EKF.upper(), f"{EKF}:443", f"{EKF}:8443", f"{EKF}:", f"{EKF}:x", f"  {EKF}\t"],
)
def test_a_published_host_may_be_written_in_any_case_and_with_a_port(
    env: DoorEnv, host: str
) -> None:
    (arrived,) = env.send(post(host=host)).arrived
    assert arrived.header("host") == "kubernetes.default.svc"


@pytest.mark.parametrize(
    "host",
    [
        # 1. Another name, or none.
        "evil.example.com", "kubernetes.default.svc", "kubernetes.default", "127.0.0.1",
        "localhost", "", ":443", "[::1]:443", "*", "*.example.com",
        # 2. The right one, and more.
        f"{EKF}.", f".{EKF}", f"x.{EKF}", f"{EKF}.evil.example.com", f"{EKF}x", f"evil{EKF}",
        f"user@{EKF}", f"{EKF}:443:443", f"[{EKF}]", f"{EKF},evil.example.com", f"{EKF}, {EKF}",
        f"{EKF}%2eevil", f"{EKF}\\x",
    ],
)  # fmt: skip
def test_another_host_is_answered_404_or_400_and_goes_nowhere(env: DoorEnv, host: str) -> None:
    env.assert_refuses(post(host=host), 400, 404)


@pytest.mark.parametrize("second", [EKF, SERVING, "evil.example.com"])
def test_two_hosts_are_none(env: DoorEnv, second: str) -> None:
    for request in (post(extra=(f"Host: {second}",)), post(host=second, extra=(f"Host: {EKF}",))):
        env.assert_refuses(request, 404)


def test_a_request_without_host_is_answered_400(env: DoorEnv) -> None:
    env.assert_refuses(post().replace(f"Host: {EKF}\r\n".encode(), b""), 400)


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Original-URL",
        "X-Original-URI", "X-Rewrite-URL", "X-Envoy-Original-Path", "X-Accel-Redirect",
        "X-Forwarded-Host", "X-Host", "Forwarded",
    ],
)  # fmt: skip
def test_no_header_says_where_a_request_goes(env: DoorEnv, header: str) -> None:
    env.assert_refuses(post("/kubernetes/api", extra=(f"{header}: {PATH}",)), 404)
    (arrived,) = env.send(post(extra=(f"{header}: /api/v1/secrets",))).arrived
    assert arrived.request_line == f"POST {UPSTREAM_PATH} HTTP/1.1"
