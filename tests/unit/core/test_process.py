"""Programs that are run with a deadline and a bound on their output."""

import sys

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.process import ProgramError, run_program

LIMIT_BYTES = 1000


def run(code: str, *, timeout_seconds: float = 20.0) -> bytes:
    return run_program(
        [sys.executable, "-c", code],
        timeout_seconds=timeout_seconds,
        limit_bytes=LIMIT_BYTES,
        clock=SYSTEM_CLOCK,
        environment={"NAME": "value"},
        interactive=False,
    )


def test_stdout_is_returned_with_the_given_environment_and_no_stdin() -> None:
    code = "import os, sys; print(os.environ['NAME'], repr(sys.stdin.read()))"
    assert run(code) == b"value ''\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('words')", "exited with 1"),
        (f"print('x' * {LIMIT_BYTES})", f"printed more than {LIMIT_BYTES} bytes"),
    ],
    ids=["code", "output"],
)
def test_a_program_that_fails_is_reported(code: str, reason: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run(code)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(60)", "import os, time; os.close(1); time.sleep(60)"],
    ids=["open", "closed"],
)  # fmt: skip
def test_a_program_that_takes_too_long_is_killed(code: str) -> None:
    begun = SYSTEM_CLOCK.monotonic()
    with pytest.raises(ProgramError, match="took too long"):
        run(code, timeout_seconds=0.5)
    assert SYSTEM_CLOCK.monotonic() - begun < 30


def test_a_missing_program_is_told_from_one_that_cannot_be_run() -> None:
    reasons = {}
    for command in ("/nowhere/program", "/", "a\0b"):
        with pytest.raises(ProgramError, match="cannot be started") as caught:
            run_program(
                [command], timeout_seconds=1, limit_bytes=1, clock=SYSTEM_CLOCK, environment={},
                interactive=False,
            )  # fmt: skip
        reasons[command] = caught.value.is_missing
    assert reasons == {"/nowhere/program": True, "/": False, "a\0b": False}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_end_signal_is_handled_whatever_lock_the_main_thread_holds(number: str) -> None:
    code = f"""
import os, signal, threading
from daypass._core.server import handle_end_signals

lock, handled = threading.Lock(), threading.Event()

def handle():
    with lock:
        handled.set()

handle_end_signals(handle)
with lock:
    os.kill(os.getpid(), signal.{number})
print(handled.wait(60))
"""
    assert run(code) == b"True\n"
