"""Programs that are run with a deadline and a bound on their output."""

import sys

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.process import ProgramError, run_program

LIMIT_BYTES = 1000


def run(code: str, *, timeout_seconds: float = 20.0, attached: bool = False) -> bytes:
    return run_program(
        [sys.executable, "-c", code],
        timeout_seconds=timeout_seconds,
        limit_bytes=LIMIT_BYTES,
        clock=SYSTEM_CLOCK,
        environment={"NAME": "value"},
        attached=attached,
    )


def test_stdout_is_returned_with_the_given_environment_and_no_stdin() -> None:
    code = "import os, sys; print(os.environ['NAME'], repr(sys.stdin.read()))"
    assert run(code) == b"value ''\n"


@pytest.mark.parametrize(
    ("code", "reason", "stderr"),
    [
        ("import sys; sys.exit('words')", "exited with 1", b"words\n"),
        (f"print('x' * {LIMIT_BYTES})", f"printed more than {LIMIT_BYTES} bytes", b""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "exited with -15", b""),
    ],
    ids=["code", "output", "signal"],
)
def test_a_program_that_fails_is_reported_with_the_end_of_its_stderr(
    code: str, reason: str, stderr: bytes
) -> None:
    with pytest.raises(ProgramError) as caught:
        run(code)
    assert (caught.value.reason, caught.value.stderr) == (reason, stderr)


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(
    "code",
    ["import time; time.sleep(60)", "import os, time; os.close(1); os.close(2); time.sleep(60)"],
    ids=["open", "closed"],
)
def test_a_program_that_takes_too_long_is_killed(code: str, attached: bool) -> None:
    begun = SYSTEM_CLOCK.monotonic()
    with pytest.raises(ProgramError, match="took too long"):
        run(code, timeout_seconds=0.5, attached=attached)
    assert SYSTEM_CLOCK.monotonic() - begun < 30


def test_a_missing_program_is_told_from_one_that_cannot_be_run() -> None:
    reasons = {}
    for command in ("/nowhere/program", "/", "a\0b"):
        with pytest.raises(ProgramError, match="cannot be started") as caught:
            run_program([command], timeout_seconds=1, limit_bytes=1, clock=SYSTEM_CLOCK)
        reasons[command] = caught.value.is_missing
    assert reasons == {"/nowhere/program": True, "/": False, "a\0b": False}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_end_signal_is_handled_whatever_lock_the_main_thread_holds(number: str) -> None:
    code = f"""
import os, signal, threading
from daypass._core.server.daemon import handle_end_signals

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
