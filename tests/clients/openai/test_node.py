"""OpenAI's SDK for Node.js. Its API key is a function that reads the file of `daypass run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import daypass
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity

NODE = (
    str(Path(sys.executable).with_name("node")), str(Path(__file__).with_name("ask.mjs")),
)  # fmt: skip
QUESTION = "hello there"
ANSWER = {"answer": "hello there "}

Ask = Callable[[], dict[str, Any]]


@contextmanager
def asking(*command: str, **environment: str) -> Iterator[Ask]:
    """Ask by one process of Node.js, which ends with the block."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask() -> dict[str, Any]:
            print(QUESTION, file=questions, flush=True)
            seen: dict[str, Any] = json.loads(answers.readline())
            return seen

        yield ask
        questions.close()


@pytest.fixture
def token_file(credentials: daypass.Credentials, home: Path) -> Path:
    file = home / "token"
    file.write_text(credentials.bearer())
    return file


@pytest.fixture
def ask(token_file: Path, gate: str, authority: str) -> Iterator[Ask]:
    with asking(
        *NODE, f"{gate}/v1",
        DAYPASS_ACCESS_TOKEN_FILE=str(token_file), NODE_EXTRA_CA_CERTS=authority,
    ) as ask:  # fmt: skip
        yield ask


def test_daypass_run_gives_it_a_file(
    gate: str, authority: str, daypass_identity: MadeIdentity, arrived: list[Arrival]
) -> None:
    with asking(
        sys.executable, "-m", "daypass", "run", "--file", "--", *NODE, f"{gate}/v1",
        DAYPASS_CREDENTIALS=str(daypass_identity.credentials_file), NODE_EXTRA_CA_CERTS=authority,
    ) as ask:  # fmt: skip
        assert ask() == ANSWER
    assert [each.user for each in arrived] == [daypass_identity.user]


def test_each_request_reads_the_file_again(
    ask: Ask, token_file: Path, credentials: daypass.Credentials, daypass_identity: MadeIdentity,
    arrived: list[Arrival], expire: Callable[[], Token],
) -> None:  # fmt: skip
    assert ask() == ANSWER
    expire()
    token_file.write_text(credentials.bearer())
    assert ask() == ANSWER
    assert [each.user for each in arrived] == [daypass_identity.user]


def test_a_refusal_shows_its_reason(
    ask: Ask, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    deny()
    seen = ask()
    assert seen["reason"] == "denied"
    assert "denied this token" in seen["error"]
    assert arrived == []
