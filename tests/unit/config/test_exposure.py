"""Which requests pass the door, and the door's own responses to the others."""

from __future__ import annotations

import pytest

from daypass.config.exposure import REQUEST_HEADERS, Exposure, refusals
from support import door_decision
from support.door_decision import DoorRequest, Verdict, publishes
from support.messages import check

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
BEARER = ("authorization", f"Bearer {JWT}")
JSON = ("content-type", "application/json")
PATH = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"
EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com", "::1"))


def judge(
    *headers: tuple[str, str],
    method: str = "POST",
    host: str = "ekf.example.com",
    target: str = PATH,
    body_bytes: int = 31,
) -> Verdict:
    """The verdict on a TokenRequest with some parts changed."""
    request = DoorRequest(
        method=method, host=host, target=target, headers=headers, body_bytes=body_bytes
    )
    return door_decision.judge(EXPOSURE, request)


def test_a_token_request_passes() -> None:
    assert judge(BEARER, JSON) is Verdict.PASS
    assert judge(BEARER) is Verdict.PASS


def test_a_get_passes_with_and_without_authorization() -> None:
    assert judge(method="GET", body_bytes=0) is Verdict.PASS
    assert judge(BEARER, method="GET", body_bytes=0) is Verdict.PASS


@pytest.mark.parametrize(
    "host", ["EKF.example.com", "ekf.example.com:8443", "[::1]", "[::1]:8443", "ekf.example.com:"]
)
def test_a_host_matches_in_any_case_and_with_a_port(host: str) -> None:
    assert judge(BEARER, JSON, host=host) is Verdict.PASS


@pytest.mark.parametrize(
    "host",
    ["", "evil", "ekf.example.com.", "xekf.example.com", "::1", "::1:8443", "[::1", "[::1]x",
     "ekf.example.com:1:2", "ekf.example.com,ekf.example.com", "[ekf.example.com]"],
)  # fmt: skip
def test_nothing_is_published_on_another_host(host: str) -> None:
    assert judge(BEARER, JSON, host=host) is Verdict.NOT_PUBLISHED


@pytest.mark.parametrize(
    "target",
    [
        PATH + "/",
        PATH + "?",
        PATH + "\n",
        "\n" + PATH,
        PATH + "\x00",
        PATH.upper(),
        PATH.removeprefix("/kubernetes"),
        PATH.replace("bot", "b%6ft"),
        PATH.replace("bot/", "bot%2f"),
        PATH.replace("/api", "//api"),
        PATH.replace("team", ".."),
        PATH.replace("team", "te.am"),
        PATH.replace("team", "t" * 64),
        PATH.replace("bot", "b" * 254),
        PATH.replace("bot", "b..t"),
        PATH.replace("bot", "\u212aot"),
        PATH.replace("token", "to\u212aen"),
        PATH.replace("bot", "\u0661"),
        "",
        "*",
    ],
    ids=lambda target: ascii(target)[-42:-1],
)
def test_another_target_is_not_published(target: str) -> None:
    assert judge(BEARER, JSON, target=target) is Verdict.NOT_PUBLISHED


@pytest.mark.parametrize(
    ("namespace", "account"), [("t" * 63, "b" * 253), ("0", "a.b-c.9")], ids=["longest", "oddest"]
)
def test_the_longest_and_most_unusual_names_are_published(namespace: str, account: str) -> None:
    assert publishes(EXPOSURE, PATH.replace("team", namespace).replace("bot", account))


def test_a_dot_in_the_prefix_matches_only_a_dot() -> None:
    exposure = Exposure(prefix="/a.b", hosts=("h",))
    published = PATH.replace("/kubernetes", "/a.b")
    assert publishes(exposure, published)
    assert not publishes(exposure, published.replace("a.b", "axb"))


@pytest.mark.parametrize("method", ["PUT", "HEAD", "OPTIONS", "post", "", "POST "])
def test_another_method_is_not_allowed(method: str) -> None:
    assert judge(BEARER, JSON, method=method) is Verdict.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "value",
    ["", "Bearer", f"bearer {JWT}", f"Bearer  {JWT}", f"Bearer\t{JWT}", f"Bearer {JWT} x", JWT,
     f"Bearer {JWT}\n", f"Bearer {JWT},Bearer {JWT}", "Bearer a.b", "Bearer a.b.c.d", "Basic eDp5"],
    ids=lambda value: value.replace(JWT, "JWT"),
)  # fmt: skip
def test_a_malformed_authorization_header_is_unauthorized(method: str, value: str) -> None:
    assert judge(("authorization", value), method=method) is Verdict.UNAUTHORIZED


def test_a_post_needs_exactly_one_authorization_header() -> None:
    assert judge(JSON) is Verdict.UNAUTHORIZED
    assert judge(BEARER, BEARER) is Verdict.UNAUTHORIZED
    assert judge(BEARER, ("authorization", "Basic eDp5")) is Verdict.UNAUTHORIZED


def test_empty_authorization_headers_are_ignored() -> None:
    assert judge(("authorization", ""), BEARER, ("authorization", "")) is Verdict.PASS


@pytest.mark.parametrize(
    "value",
    ["application/yaml", "application/json;", "application/json, text/html", "*/*", "text/json",
     "application/json;charset=latin-1", "application/json\n", "application/j\u017fon"],
)  # fmt: skip
def test_another_media_type_is_not_supported(value: str) -> None:
    assert judge(BEARER, ("content-type", value)) is Verdict.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "value",
    ["", "application/json", "Application/JSON", 'application/json ; charset="UTF-8"',
     "application/vnd.kubernetes.protobuf"],
)  # fmt: skip
def test_json_and_protobuf_are_supported(value: str) -> None:
    assert judge(BEARER, ("content-type", value)) is Verdict.PASS


def test_the_body_size_is_limited() -> None:
    assert judge(BEARER, body_bytes=8192) is Verdict.PASS
    assert judge(BEARER, body_bytes=8193) is Verdict.TOO_LARGE
    assert judge(BEARER, method="GET", body_bytes=1) is Verdict.PASS
    assert judge(BEARER, method="GET", body_bytes=2) is Verdict.TOO_LARGE


def test_the_order_of_checks_does_not_reveal_published_paths() -> None:
    """A scanner without a token gets the same response for every unpublished path."""
    assert judge(host="evil", method="PUT") is Verdict.NOT_PUBLISHED
    assert judge(target="/x", method="PUT") is Verdict.NOT_PUBLISHED
    assert judge(method="PUT") is Verdict.METHOD_NOT_ALLOWED
    assert judge(("content-type", "text/html")) is Verdict.UNAUTHORIZED
    assert judge(target="/x", body_bytes=8193) is Verdict.TOO_LARGE


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


def test_the_413_message_names_the_configured_limit() -> None:
    exposure = Exposure(prefix="/k", hosts=("h",), body_limit_bytes=100)
    (too_large,) = (r for r in refusals(exposure) if r.code == 413)
    assert "100" in too_large.message
