"""`daypass demo` if a step fails or a signal arrives."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass._core.errors import DaypassError
from daypass.cli import main
from daypass.local import demo, stack
from daypass.local.demo import DemoStep
from daypass.local.stack import LocalStack


class NoStack:
    """Replaces the real stack; `ended` counts how often it was stopped."""

    door, gate = "https://localhost:1/kubernetes", "https://localhost:2"
    ended = 0

    def __init__(self, folder: Path) -> None:
        assert folder.is_dir()

    def __enter__(self) -> NoStack:
        return self

    def __exit__(self, *_: object) -> None:
        NoStack.ended += 1


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    NoStack.ended = 0
    monkeypatch.setattr(stack, "LocalStack", NoStack)
    monkeypatch.delenv("ONCE", raising=False)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def tells(monkeypatch: pytest.MonkeyPatch, *as_expected: bool) -> None:
    def tell(_: LocalStack, *__: object) -> Iterator[DemoStep]:
        for number, good in enumerate(as_expected, start=1):
            yield DemoStep(title=f"step {number}", request="", answer=("x",), as_expected=good)

    monkeypatch.setattr(demo, "run_demo", tell)


def marks(told: str) -> list[str]:
    """What each step was marked as."""
    return re.findall(r"^ ?\d+\. .*\[([^]]+)\]$", told, re.M)


@pytest.mark.parametrize("steps", [(True, True), (False,), (True, False), (False, True, False)])
def test_the_exit_code_is_1_after_all_steps_if_one_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], steps: tuple[bool, ...]
) -> None:
    tells(monkeypatch, *steps)
    failed = len(steps) - sum(steps)
    assert main(["demo", "--once"]) == (1 if failed else 0)
    told = capsys.readouterr().out
    assert (f"{failed} of {len(steps)} " in told.splitlines()[-1]) == (failed > 0)
    assert [mark == "done" for mark in marks(told)] == list(steps)
    assert NoStack.ended == 1


def test_an_error_in_the_demo_prints_a_fact_and_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(*_: object) -> Iterator[DemoStep]:
        yield DemoStep(title="one", request="", answer=(), as_expected=True)
        raise DaypassError("the door fell off", "hang it back")

    monkeypatch.setattr(demo, "run_demo", tell)
    assert main(["demo", "--once"]) == 1
    assert capsys.readouterr().err == "daypass: the door fell off\n  hang it back\n"
    assert NoStack.ended == 1
