"""The patterns of what passes the door, and the door's own responses to other requests."""

from __future__ import annotations

import re

import pytest

from daypass.config.exposure import MEDIA_TYPE, REQUEST_HEADERS, Exposure, refusals
from support.door_decision import Verdict, publishes
from support.messages import check

PATH = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"
EXPOSURE = Exposure(prefix="/kubernetes", hosts=("ekf.example.com", "::1"))


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
    assert not publishes(EXPOSURE, target)


@pytest.mark.parametrize(
    ("namespace", "account"), [("t" * 63, "b" * 253), ("0", "a.b-c.9")], ids=["longest", "oddest"]
)
def test_the_longest_and_most_unusual_names_are_published(namespace: str, account: str) -> None:
    assert publishes(EXPOSURE, PATH.replace("team", namespace).replace("bot", account))


@pytest.mark.parametrize(
    "value",
    ["application/yaml", "application/json;", "application/json, text/html", "*/*", "text/json",
     "application/json;charset=latin-1", "application/json\n", "application/j\u017fon"],
)  # fmt: skip
def test_another_media_type_is_not_supported(value: str) -> None:
    assert not re.fullmatch(MEDIA_TYPE, value)


@pytest.mark.parametrize(
    "value",
    ["", "application/json", "Application/JSON", 'application/json ; charset="UTF-8"',
     "application/vnd.kubernetes.protobuf"],
)  # fmt: skip
def test_json_and_protobuf_are_supported(value: str) -> None:
    assert re.fullmatch(MEDIA_TYPE, value)


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
