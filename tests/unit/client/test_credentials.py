"""Credentials: where they come from, and what is refused before anybody is asked anything."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.client.credentials import Credentials
from daypass.client.errors import CredentialsError
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
from support.timing import NOON, FakeTiming

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


def refusal_of(path: str) -> CredentialsError:
    with pytest.raises(CredentialsError) as raised:
        Credentials.from_file(path, timing=FakeTiming())
    assert raised.value.exit_code == 2
    assert raised.value.hint
    return raised.value


def test_a_file_says_everything(write: Write) -> None:
    credentials = Credentials.from_file(write(lifetimeSeconds=7200))
    assert credentials.door == URL
    assert credentials.namespace == NAMESPACE
    assert credentials.service_account == SERVICE_ACCOUNT
    assert credentials.secret_name == SECRET
    assert credentials.audience == AUDIENCE
    assert credentials.lifetime_seconds == 7200
    assert repr(credentials) == f"Credentials({NAMESPACE}/{SERVICE_ACCOUNT} at {URL})"


def test_a_file_is_named_by_a_variable(write: Write) -> None:
    assert Credentials.load({"DAYPASS_CREDENTIALS": write()}).door == URL


def test_the_process_environment_is_the_default(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_CREDENTIALS", write())
    assert Credentials.load().door == URL


def test_variables_stand_for_the_fields(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(long_lived_token() + "\n")
    token_file.chmod(0o600)
    environ = {"DAYPASS_DOOR": URL + "/", "DAYPASS_AUDIENCE": "gate"}
    for how in (
        {"DAYPASS_TOKEN": long_lived_token()},
        {"DAYPASS_TOKEN_FILE": str(token_file), "DAYPASS_CREDENTIALS": ""},
    ):
        credentials = Credentials.load({**environ, **how})
        assert (credentials.door, credentials.audience) == (URL, "gate")
        assert credentials.lifetime_seconds == 3600
        assert credentials.secret_name == SECRET


def test_a_token_can_stand_in_a_file_beside_the_credentials(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(long_lived_token())
    (tmp_path / "token").chmod(0o600)
    assert Credentials.from_file(write(token={"file": "token"})).secret_name == SECRET
    (tmp_path / "token").chmod(0o644)
    assert "can be read or written by others" in refusal_of(write(token={"file": "token"})).fact


def test_a_mix_of_file_and_variables_is_refused_by_name(write: Write) -> None:
    environ = {
        "DAYPASS_CREDENTIALS": write(),
        "DAYPASS_DOOR": URL,
        "DAYPASS_CA_FILE": "x",
        "DAYPASS_TOKEN": "y",
    }
    with pytest.raises(CredentialsError, match="DAYPASS_DOOR, DAYPASS_TOKEN and DAYPASS_CA_FILE"):
        Credentials.load(environ)


def test_a_token_and_a_token_file_are_a_mix_too() -> None:
    environ = {"DAYPASS_DOOR": URL, "DAYPASS_TOKEN": "x", "DAYPASS_TOKEN_FILE": "y"}
    with pytest.raises(CredentialsError, match="DAYPASS_TOKEN and DAYPASS_TOKEN_FILE"):
        Credentials.load(environ)


def test_a_file_that_is_named_in_code_does_not_look_at_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_DOOR", "https://other.example.com/kubernetes")
    assert Credentials.from_file(Path(write())).door == URL


@pytest.mark.parametrize(
    ("environ", "fact"),
    [
        ({}, "no credentials are named"),
        ({"DAYPASS_CREDENTIALS": ""}, "no credentials are named"),
        ({"DAYPASS_TOKEN": long_lived_token()}, "DAYPASS_DOOR is not set"),
        ({"DAYPASS_DOOR": URL}, "DAYPASS_TOKEN is not set"),
        ({"DAYPASS_DOOR": URL, "DAYPASS_TOKEN_FILE": "/nowhere/x"}, "DAYPASS_TOKEN_FILE names"),
        (
            {"DAYPASS_DOOR": URL, "DAYPASS_TOKEN": "x", "DAYPASS_CA_FILE": "/nowhere/x"},
            "the file that DAYPASS_CA_FILE names cannot be read: /nowhere/x: No such file",
        ),
        ({"DAYPASS_CREDENTIALS": "a\0b"}, "no such name is possible"),
    ],
)
def test_what_is_missing_from_the_environment_is_named(environ: dict[str, str], fact: str) -> None:
    with pytest.raises(CredentialsError) as raised:
        Credentials.load(environ)
    assert fact in raised.value.fact
    assert raised.value.hint


# -- the file itself


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_can_use_is_refused_with_the_command_that_mends_it(
    write: Write, mode: int
) -> None:
    path = write(mode=mode)
    error = refusal_of(path)
    assert f"can be read or written by others (mode {mode:04o})" in error.fact
    assert f"chmod 600 {path}" in error.hint


def test_a_file_that_this_user_may_not_open_is_told(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = write()
    monkeypatch.setattr(os, "open", refuse)
    error = refusal_of(path)
    assert error.fact.endswith(": Permission denied")
    assert f"user {os.geteuid()} has to be let in" in error.hint


def test_a_whole_document_in_place_of_its_path_is_recognised() -> None:
    environ = {"DAYPASS_CREDENTIALS": json.dumps(credentials_document(URL))}
    with pytest.raises(CredentialsError) as raised:
        Credentials.load(environ)
    assert SENTINEL not in str(raised.value)
    assert raised.value.hint == "it takes the path of a file, not what stands in it"


def test_a_symbolic_link_out_of_its_folder_is_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(write())
    assert "is a symbolic link" in refusal_of(str(tmp_path / "folder" / "link")).fact


def test_a_folder_a_pipe_and_nothing_are_refused(tmp_path: Path) -> None:
    assert "is not an ordinary file" in refusal_of(str(tmp_path)).fact
    os.mkfifo(tmp_path / "pipe")
    assert "is not an ordinary file" in refusal_of(str(tmp_path / "pipe")).fact
    assert "No such file" in refusal_of(str(tmp_path / "none")).fact


def test_somebody_elses_file_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    owner = os.stat(path).st_uid or 1001
    if os.geteuid() == 0:
        os.chown(path, owner, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    error = refusal_of(path)
    assert f"belongs to user {owner}, not to you" in error.fact
    assert "install -m 600" in error.hint


def test_a_file_of_more_than_64_kib_is_refused(write: Write) -> None:
    padding = b" " * (64 * 1024)
    content = json.dumps(credentials_document(URL)).encode()
    assert Credentials.from_file(write(content + padding[len(content) :])).door == URL
    assert "is larger than 65536 bytes" in refusal_of(write(content + padding)).fact


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "is not whole JSON: line 1"),
        (b'{"type": "daypass",\n"version": 1, "door": "ht', "is not whole JSON: line 2"),
        (b"\xff\xfe", "is not whole JSON"),
        (b"[]", "is not one JSON object"),
        (b"{}{}", "is not whole JSON: line 1"),
        (b"[" * 60_000, "is not whole JSON"),
        (b'{"type": "daypass", "type": "daypass"}', "is not whole JSON"),
        (b"{}", 'does not say "type": "daypass" and "version": 1'),
        (b'{"type": "service_account", "version": 1}', 'does not say "type": "daypass"'),
        (b'{"type": "daypass", "version": 2}', 'does not say "type": "daypass" and "version": 1'),
        (b'{"type": "daypass", "version": true}', 'does not say "type": "daypass"'),
    ],
)
def test_what_is_no_credentials_file_is_told(write: Write, content: bytes, fact: str) -> None:
    assert fact in refusal_of(write(content)).fact


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("doors", "did you mean door?"),
        ("certificateAuthorityData", "did you mean certificateAuthority?"),
        ("lifetime", "did you mean lifetimeSeconds?"),
        ("zzz", "known are: type, version, door"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(write: Write, key: str, hint: str) -> None:
    error = refusal_of(write(**{key: "x"}))
    assert f"holds the unknown key {key!r}" in error.fact
    assert hint in error.hint


@pytest.mark.parametrize(
    "source",
    [
        {"github": {"audience": "x", "more": "y"}},
        {"github": "x"},
        {"exec": []},
        {"exec": "cat"},
        {"exec": ["cat", 7]},
        {"vault": "x"},
        {"file": "x", "exec": ["cat"]},
        {"file": 7},
        {},
    ],
)
def test_a_source_of_tokens_that_is_none_is_refused_with_those_that_are(
    write: Write, source: dict[str, object]
) -> None:
    error = refusal_of(write(token=source))
    assert "is of no known kind" in error.fact
    assert '{"github": {"audience": "A"}}' in error.hint


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"door": None}, "names no door"),
        ({"token": None}, "names no token"),
        ({"door": 7}, "door in"),
        ({"token": 7}, "token in"),
        ({"audience": ["x"]}, "audience in"),
        ({"audience": ""}, "no audience is named"),
        ({"audience": " x"}, "holds spaces or control characters"),
        ({"audience": "a\nb"}, "holds spaces or control characters"),
        ({"certificateAuthority": 7}, "certificateAuthority in"),
        ({"lifetimeSeconds": "1h"}, "not a whole number of seconds"),
        ({"lifetimeSeconds": 1.5}, "not a whole number of seconds"),
        ({"lifetimeSeconds": True}, "not a whole number of seconds"),
        ({"lifetimeSeconds": 0}, "lifetime of 0 seconds is not possible"),
        ({"lifetimeSeconds": 2**32 + 1}, "is not possible"),
    ],
)
def test_values_of_another_kind_are_refused(
    write: Write, changes: dict[str, object], fact: str
) -> None:
    assert fact in refusal_of(write(**changes)).fact


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (long_lived_token().encode(), "DAYPASS_TOKEN_FILE"),
        (base64.b64encode(long_lived_token().encode()), "DAYPASS_TOKEN_FILE"),
        (b"apiVersion: v1\nkind: Config\n", "is a kubeconfig"),
        (b'{"kind": "Secret", "data": {}}', "in its data, in base64"),
    ],
)
def test_another_file_in_place_of_the_credentials_is_recognised(
    write: Write, content: bytes, hint: str
) -> None:
    error = refusal_of(write(content))
    assert hint in error.hint
    assert long_lived_token()[40:80] not in str(error)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("/var/run/token", "DAYPASS_TOKEN_FILE"),
        ('{"type": "daypass"}', "DAYPASS_CREDENTIALS"),
    ],
)
def test_a_path_or_a_whole_file_in_place_of_the_token_is_recognised(value: str, hint: str) -> None:
    with pytest.raises(CredentialsError) as raised:
        Credentials.load({"DAYPASS_DOOR": URL, "DAYPASS_TOKEN": value})
    assert hint in raised.value.hint


# -- the long-lived token


def test_a_short_lived_token_is_not_taken_for_the_long_lived_one(write: Write) -> None:
    for exp, when in ((NOON + 60, "expires at 2027-01-15T08:01:00Z"), (NOON - 60, "expired at")):
        error = refusal_of(write(token=jwt({"exp": int(exp), "kubernetes.io": {}})))
        assert f"this is a short-lived token, which {when}" in error.fact
        assert "you were handed" in error.hint
    error = refusal_of(write(token=jwt({"kubernetes.io": {"namespace": "x"}})))
    assert error.fact == "this is a short-lived token, not the long-lived one"


@pytest.mark.parametrize(
    ("token", "fact"),
    [
        ("", "not a ServiceAccount's token: a JSON Web Token has three parts"),
        ("hello", "three parts, this one has 1"),
        (long_lived_token() + "\r\nX-Evil: 1", "signature cannot be decoded"),
        (long_lived_token().rpartition(".")[0] + ".", "has no signature"),
        ("a.b.c", "header cannot be decoded"),
        ("x" * 20_000, "more than 16384 characters"),
        (jwt({"sub": "x"}), "not a ServiceAccount's long-lived one"),
    ],
)
def test_what_is_no_token_of_a_service_account_is_told(write: Write, token: str, fact: str) -> None:
    assert fact in refusal_of(write(token=token)).fact


def test_a_token_in_base64_as_secrets_hold_it_is_recognised(write: Write) -> None:
    error = refusal_of(write(token=base64.b64encode(long_lived_token().encode()).decode()))
    assert "base64 -d" in error.hint


@pytest.mark.parametrize(
    "name",
    [
        "../../../api",
        "a/b",
        "A",
        "a_b",
        "-a",
        "a-",
        "",
        "a" * 254,
        "a%2fb",
        "a?b",
        "é",
        7,
        None,
        [],
    ],
)
def test_a_name_that_would_leave_its_place_in_the_url_is_refused(
    write: Write, name: object
) -> None:
    for token in (
        long_lived_token(namespace=name),
        long_lived_token(service_account=name),
        long_lived_token(secret=name),
    ):
        assert refusal_of(write(token=token)).fact.startswith(
            ("the token names a", "this is a token, but not")
        )


def test_a_namespace_is_a_label_and_a_service_account_may_have_dots(write: Write) -> None:
    assert Credentials.from_file(write(token=long_lived_token(service_account="a.b"))).namespace
    fact = refusal_of(write(token=long_lived_token(namespace="a.b"))).fact
    assert fact == "the token names a namespace that can't exist"


# -- what is asked


def test_an_audience_has_to_come_from_somewhere(write: Write) -> None:
    credentials = Credentials.from_file(write(audience=None))
    assert credentials.audience is None
    for audience in (None, ""):
        with pytest.raises(CredentialsError, match="no audience is named"):
            credentials.token(audience)
    with pytest.raises(CredentialsError, match="no audience is named"):
        Credentials.from_file(write()).token("")


@pytest.mark.parametrize("seconds", [0, -1, 2**32 + 1, 1.5, "600", True])
def test_an_impossible_lifetime_is_not_asked_for(write: Write, seconds: int) -> None:
    with pytest.raises(CredentialsError, match="lifetime"):
        Credentials.from_file(write()).token(lifetime_seconds=seconds)
