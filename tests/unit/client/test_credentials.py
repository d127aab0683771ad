"""Credentials: their sources, and what is refused before any request."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daypass.client.credentials import Credentials
from daypass.client.errors import CredentialsError
from support.authority import ANY_AUTHORITY
from support.fake_door import (
    AUDIENCE,
    NAMESPACE,
    SECRET,
    SENTINEL,
    SERVICE_ACCOUNT,
    credentials_document,
    jwt,
    long_lived_token,
)
from support.messages import raises
from support.timing import NOON, FakeTiming
from unit.core.fake_files import owned_by

URL = "https://ekf.example.com/kubernetes"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Put a credentials file down and give its path."""

    def put(content: bytes | None = None, *, mode: int = 0o600, **changes: object) -> str:
        path = tmp_path / "credentials.json"
        if content is None:
            content = json.dumps(credentials_document(URL, **changes)).encode()
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    return put


def refusal_of(path: str, *, match: str | None = None, hide: str | None = None) -> CredentialsError:
    with raises(CredentialsError, match=match, hide=hide) as raised:
        Credentials.from_file(path, timing=FakeTiming())
    assert raised.value.exit_code == 2
    assert raised.value.hint
    return raised.value


def test_a_credentials_file_has_all_settings(write: Write) -> None:
    credentials = Credentials.from_file(write(lifetimeSeconds=7200))
    assert credentials.door == URL
    assert credentials.namespace == NAMESPACE
    assert credentials.service_account == SERVICE_ACCOUNT
    assert credentials.secret_name == SECRET
    assert credentials.audience == AUDIENCE
    assert credentials.lifetime_seconds == 7200
    assert repr(credentials) == f"Credentials({NAMESPACE}/{SERVICE_ACCOUNT} at {URL})"


def test_a_variable_of_the_process_or_of_a_mapping_names_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Credentials.load({"DAYPASS_CREDENTIALS": write()}).door == URL
    monkeypatch.setenv("DAYPASS_CREDENTIALS", write())
    assert Credentials.load().door == URL


def test_the_token_can_be_in_a_file_next_to_the_credentials(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(long_lived_token())
    (tmp_path / "token").chmod(0o600)
    assert Credentials.from_file(write(token={"file": "token"})).secret_name == SECRET
    (tmp_path / "token").chmod(0o644)
    refusal_of(write(token={"file": "token"}), match="0644")


@pytest.mark.parametrize("value", ["bot.json", long_lived_token(), ["bot.json"]])
def test_what_is_no_environment_is_refused_with_the_call_to_make(value: Any) -> None:
    with raises(CredentialsError) as raised:
        Credentials.load(value)
    assert "from_file(PATH)" in raised.value.hint
    assert SENTINEL not in str(raised.value)


def test_what_names_no_file_is_refused(tmp_path: Path) -> None:
    with raises(CredentialsError, match="no credentials"):
        Credentials.load({})
    with raises(CredentialsError, match="path"):
        Credentials.load({"DAYPASS_CREDENTIALS": "a\0b"})
    refusal_of(str(tmp_path), match=f"{tmp_path} is a directory")
    refusal_of(str(tmp_path / "none"), match="/none.*No such file")


# -- the file itself


NAMES = {"namespace": "team", "serviceAccount": "ci"}
ELSEWHERE = [{"file": "token"}, {"variable": "CI_TOKEN"}, {"github": {"audience": "door"}}]


@pytest.mark.parametrize("token", ELSEWHERE, ids=str)
def test_a_file_that_names_where_its_token_is_may_be_read_by_others(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: dict[str, object],
) -> None:
    monkeypatch.setenv("CI_TOKEN", long_lived_token())
    (tmp_path / "token").write_text(long_lived_token())
    (tmp_path / "token").chmod(0o600)
    identity = {} if "github" not in token else NAMES
    path = write(mode=0o644, token=token, certificateAuthority=ANY_AUTHORITY, **identity)
    assert Credentials.from_file(path, timing=FakeTiming()).door == URL


@pytest.mark.parametrize("mode", [0o664, 0o646], ids="{:04o}".format)
def test_no_file_that_others_can_write_is_read(write: Write, mode: int) -> None:
    with pytest.raises(CredentialsError, match=f"{mode:04o}"):
        Credentials.from_file(write(mode=mode, token=ELSEWHERE[0]))


@pytest.mark.parametrize(
    "content",
    [
        {"token": {"variable": "CI_TOKEN", "more": [SENTINEL]}},
        {"token": [SENTINEL]},
        {"token": None},
        json.dumps(credentials_document(URL, token={"file": long_lived_token()})).replace(
            "eyJ", "\\u0065yJ"
        ),
    ],
    ids=range(4),
)
def test_what_may_hold_a_secret_is_refused_if_others_can_read_it(
    write: Write, content: dict[str, object] | str
) -> None:
    if isinstance(content, dict):
        path = write(mode=0o644, **{**NAMES, **content})
    else:
        path = write(content.encode(), mode=0o644)
    with pytest.raises(CredentialsError, match="0644") as refused:
        Credentials.from_file(path)
    assert refused.value.reason == "unsafe-file"
    assert SENTINEL not in str(refused.value)
    assert refused.value.__context__ is None


def test_a_file_that_this_user_cannot_open_is_reported(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = write()
    monkeypatch.setattr(os, "open", refuse)
    error = refusal_of(path, hide=r"(?<=user )\d+")
    assert error.fact.endswith(": Permission denied")
    assert f"user {os.geteuid()} " in error.hint


def test_a_file_of_another_user_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    owned_by(monkeypatch, 1001, Path(path))
    error = refusal_of(path, match=r"user 1001\b", hide=r"(?<=user )\d+")
    assert "install -m 600" in error.hint


SAYS = '"type": "daypass" and "version": 1'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"type": "daypass",\n"version": 1, "door": "ht', "JSON: line 2"),
        (b'{"type": "daypass", "version": 2}', SAYS),
        (f'{{"type": "daypass", "version": 1, "x": "{SENTINEL}"}}'.encode(), "unknown key"),
    ],
    ids=range(3),
)
def test_another_file_is_refused_without_its_content(
    write: Write, content: bytes, expected: str
) -> None:
    assert SENTINEL not in str(refusal_of(write(content), match=expected))


SOURCES = '{"github": {"audience": "A"}}'


@pytest.mark.parametrize(
    ("changes", "expected", "hint"),
    [
        ({"doors": "x"}, "'doors'", "door?"),
        ({"token": {"github": {"audience": "x", "more": "y"}}}, "token", SOURCES),
        ({"door": 7}, "door", ""),
        ({"lifetimeSeconds": "1h"}, "lifetime", ""),
        ({"lifetimeSeconds": 599}, "lifetime of 599 seconds", ""),
        ({"token": "hello"}, "three parts, .* 1", ""),
        ({"token": long_lived_token() + "\r\nX-Evil: 1"}, "signature", ""),
        ({"token": jwt({"sub": "x"})}, "ServiceAccount", ""),
        ({"token": base64.b64encode(long_lived_token().encode()).decode()}, "token", "base64 -d"),
        ({"token": jwt({"exp": int(NOON) + 60, "kubernetes.io": {}})}, "not the long-lived", ""),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else "",
)
def test_an_invalid_field_is_named_with_what_to_do(
    write: Write, changes: dict[str, object], expected: str, hint: str
) -> None:
    assert hint in refusal_of(write(**changes), match=expected).hint


# -- the long-lived token


@pytest.mark.parametrize(
    "name",
    ["../../../api", "a/b", "A", "", "a" * 254, "a%2fb", "a?b", "é", 7, None],
    ids=lambda name: repr(name)[:20],
)  # fmt: skip
def test_a_name_that_would_change_the_url_is_refused(write: Write, name: object) -> None:
    for token in (
        long_lived_token(namespace=name),
        long_lived_token(service_account=name),
        long_lived_token(secret=name),
    ):
        refusal_of(write(token=token))


def test_a_namespace_is_a_label_and_a_service_account_may_have_dots(write: Write) -> None:
    assert Credentials.from_file(write(token=long_lived_token(service_account="a.b"))).namespace
    refusal_of(write(token=long_lived_token(namespace="a.b")), match="namespace")


# -- what is asked


def test_a_missing_audience_is_refused(write: Write) -> None:
    credentials = Credentials.from_file(write(audience=None))
    assert credentials.audience is None
    for audience in (None, ""):
        with raises(CredentialsError, match="audience"):
            credentials.token(audience)
    with raises(CredentialsError, match="audience"):
        Credentials.from_file(write()).token("")


@pytest.mark.parametrize("seconds", [0, 2**32 + 1, "600"])
def test_an_impossible_lifetime_is_refused(write: Write, seconds: int) -> None:
    with raises(CredentialsError, match="lifetime"):
        Credentials.from_file(write()).token(lifetime_seconds=seconds)
