"""`daypass demo` if a step fails."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from daypass.cli import main
from daypass.local import demo, stack
from daypass.local.demo import DemoStep

STEPS = (False, True, False)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No stack, and the signal handlers of before at the end."""
    there = SimpleNamespace(door="https://localhost:1/kubernetes", gate="https://localhost:2")
    monkeypatch.setattr(stack, "LocalStack", lambda _: nullcontext(there))
    monkeypatch.delenv("ONCE", raising=False)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_exit_code_is_1_after_all_steps_if_one_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(*_: object) -> Iterator[DemoStep]:
        for good in STEPS:
            yield DemoStep(title="a step", request="", answer=("x",), as_expected=good)

    monkeypatch.setattr(demo, "run_demo", tell)
    assert main(["demo", "--once"]) == 1
    told = capsys.readouterr().out
    assert "2 of 3 " in told.splitlines()[-1]
    marks = re.findall(r"^ ?\d+\. .*\[([^]]+)\]$", told, re.M)
    assert [mark == "done" for mark in marks] == list(STEPS)
