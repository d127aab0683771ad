"""OpenAI's SDK for Node.js. Its API key is a function that runs `daypass token`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import daypass
from daypass.client.token import Token
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.testing import MovableClock
from support.arrivals import Arrival
from support.clocks import WrongClock

HERE = Path(__file__).parent
QUESTION = "hello there"
ANSWER = {"answer": "hello there "}

Ask = Callable[[], dict[str, Any]]


@pytest.fixture
def credentials(daypass_identity: MadeIdentity, home: Path) -> daypass.Credentials:
    """Those that `daypass token` uses, with the same token."""
    return daypass.Credentials.from_file(daypass_identity.credentials_file, shared=True)


@pytest.fixture
def clock(home: Path) -> WrongClock:
    """That of `daypass token`."""
    return WrongClock(home)


@pytest.fixture
def ask(
    daypass_identity: MadeIdentity, clock: WrongClock, gate: str, authority: str, home: Path
) -> Iterator[Ask]:
    """Asks by one process of Node.js, which ends with the test."""
    programs = home / "bin"
    programs.mkdir()
    daypass_program = programs / "daypass"
    command = shlex.join([sys.executable, *clock.program])
    daypass_program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    daypass_program.chmod(0o700)
    node = Path(sys.executable).with_name("node")
    with subprocess.Popen(
        [str(node), str(HERE / "ask.mjs"), f"{gate}/v1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={
            **os.environ,
            "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
            "NODE_EXTRA_CA_CERTS": authority,
            "PATH": f"{programs}:{os.environ['PATH']}",
        },
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def once() -> dict[str, Any]:
            print(QUESTION, file=questions, flush=True)
            seen: dict[str, Any] = json.loads(answers.readline())
            return seen

        yield once
        questions.close()


def test_requests_pass_before_and_after_the_end_of_a_token(
    ask: Ask, clock: WrongClock, daypass_identity: MadeIdentity, arrived: list[Arrival],
    deny: Callable[..., Token],
) -> None:  # fmt: skip
    assert ask() == ANSWER
    assert [each.user for each in arrived] == [daypass_identity.user]
    deny()
    clock.set(3600)
    assert ask() == ANSWER
    assert [each.user for each in arrived] == [daypass_identity.user]
    assert "authorization" not in arrived[0].headers


def test_a_refusal_shows_its_reason(
    ask: Ask, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    deny(every=True)
    seen = ask()
    assert seen["reason"] == "denied"
    assert "denied" in seen["error"]
    assert arrived == []


def test_a_revoked_identity_gets_the_message_of_the_command(
    ask: Ask, clock: WrongClock, daypass_stack: LocalStack, daypass_identity: MadeIdentity,
    daypass_clock: MovableClock, arrived: list[Arrival],
) -> None:  # fmt: skip
    daypass_stack.revoke(daypass_identity)
    daypass_clock.move(11)
    clock.set(3600)
    assert "refused" in ask()["cause"]
    assert arrived == []
