"""No error holds a token: not its text, traceback, causes or pickle."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

import pytest

from daypass._core.errors import DaypassError
from daypass.client.credentials import Credentials
from support.fake_door import (
    SENTINEL,
    Behaviour,
    answer,
    credentials_document,
    cut,
    jwt,
    long_lived_token,
    reset,
    short_lived_token,
    status_answer,
    token_answer,
)
from unit.client.conftest import Ask, Serve

SECRETS = (SENTINEL, long_lived_token()[40:120], short_lived_token()[40:80])


Exposes = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def exposes_no_token(caplog: pytest.LogCaptureFixture) -> Exposes:
    """Expect an error that survives pickling. It, its causes and the log hold no token."""
    caplog.set_level(logging.DEBUG)

    @contextmanager
    def expect() -> Iterator[None]:
        with pytest.raises(DaypassError) as raised:
            yield
        error, link = raised.value, cast("BaseException | None", raised.value)
        seen = [
            "".join(traceback.format_exception(error)), repr(pickle.dumps(error)), caplog.text,
        ]  # fmt: skip
        while link is not None:
            seen.append(f"{link} {link!r} {link.args!r} {vars(link)!r}")
            link = link.__cause__ or link.__context__
        assert not [secret for secret in SECRETS if secret in "\n".join(seen)]
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(again), str(again)) == (type(error), str(error))
        for name in ("heals_by_itself", "retry_after_seconds", "status"):
            assert repr(getattr(again, name, 0)) == repr(getattr(error, name, 0))

    return expect


ECHO = f"Authorization: Bearer {long_lived_token()}"
ENTRIES: list[bytes | Behaviour] = [
    reset,
    b"",
    cut(f"HTTP/1.1 200 OK\r\n{ECHO}\r\nnonsense".encode()),
    f"HTTP/1.1 200 {long_lived_token()}\r\n{ECHO}\0\r\n\r\n".encode(),
    answer(200, ECHO),
    token_answer(status={"token": short_lived_token(signature=SENTINEL)}),
    status_answer(401, ECHO),
    status_answer(403, ECHO),
    status_answer(429, ECHO, "Retry-After: 100"),
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_answer_of_a_door_exposes_no_token(
    serve: Serve, ask: Ask, exposes_no_token: Exposes, entry: bytes | Behaviour
) -> None:
    _, credentials = serve(entry)
    with exposes_no_token():
        ask(credentials)


def document(**changes: object) -> bytes:
    return json.dumps(
        credentials_document("https://ekf.example.com/kubernetes", **changes)
    ).encode()


@pytest.mark.parametrize(
    "content",
    [
        document()[: document().index(SENTINEL.encode()) + 10],
        document(token=long_lived_token() + "\n\x00" + SENTINEL),
        document(token=jwt({"aud": ["x"], "exp": 1})),
        document(token=long_lived_token(namespace="../" + SENTINEL)),
        document(door=f"https://{long_lived_token()}@ekf.example.com/kubernetes"),
        document(door=f"https://ekf.example.com/kubernetes?token={long_lived_token()}"),
        document(type=long_lived_token()),
        json.dumps({long_lived_token(): 1}).encode(),
        long_lived_token().encode(),
    ],
)
def test_an_invalid_credentials_file_exposes_no_token(
    content: bytes, tmp_path: Path, exposes_no_token: Exposes
) -> None:
    file = tmp_path / "credentials.json"
    file.write_bytes(content)
    file.chmod(0o600)
    with exposes_no_token():
        Credentials.from_file(file)


def test_a_token_in_place_of_a_path_is_not_exposed(
    exposes_no_token: Exposes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with exposes_no_token():
        Credentials.load({"DAYPASS_CREDENTIALS": long_lived_token()})
