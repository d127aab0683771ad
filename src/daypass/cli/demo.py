"""`daypass demo`: an API server, a door and a gate on this machine, step by step."""

import argparse
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.hints import command, path_with_daypass
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.server import handle_end_signals
from daypass.cli.console import log, paint, write

if TYPE_CHECKING:
    from daypass.local.demo import DemoStep
    from daypass.local.stack import LocalStack

EXTRA = "local"
SUMMARY = "show API server, door and gate, and what they refuse"
EPILOG = """\
examples:
  daypass demo                    runs all steps, then stays up until Ctrl-C
  daypass demo --once             exits with 0 if all went as expected

It needs no cluster. Everything listens on loopback, and is removed afterwards.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once",
        action="store_true",
        default=os.environ.get("ONCE") == "1",
        help="exit after the steps (also: ONCE=1)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the steps; return 0 if all went as expected, else 1."""
    started = SYSTEM_CLOCK.monotonic()
    stop = threading.Event()
    handle_end_signals(stop.set)
    from daypass.local.stack import LocalStack
    from daypass.local.state import runtime_folder

    with runtime_folder() as folder, ExitStack() as running:
        stack = running.enter_context(LocalStack(folder))
        good = _run_steps(stack, stop, started)
        if stop.is_set() or good is None:
            return 0 if good else 1
        if not args.once:
            _invite(stack)
            while not stop.wait(0.5):
                stack.supervisor.check()
            _print()  # below the ^C that a terminal shows
    log("everything is removed; to use daypass in this terminal:", f"export {path_with_daypass()}")
    return 0 if good else 1


def _run_steps(stack: "LocalStack", stop: threading.Event, started: float) -> bool | None:
    """Run and print the steps; return whether all went as expected, None if interrupted."""
    from daypass.local.demo import run_demo

    _print(paint("bold", "daypass: an API server, a door and a gate, on this machine"))
    _print(f"  door  {stack.door}\n  gate  {stack.gate}")

    wrong = 0
    for number, step in enumerate(run_demo(stack), start=1):
        if stop.is_set():
            return None
        _show(number, step)
        wrong += not step.as_expected
        if number == 2:
            elapsed = SYSTEM_CLOCK.monotonic() - started
            _print(paint("dim", f"     the first token, {elapsed:.1f} s after the start"))
    _print()
    if wrong:
        _print(paint("failure", f"{wrong} of {number} steps did not go as expected"))
    else:
        _print(paint("ok", f"all {number} steps went as expected"))
    return not wrong


def _show(number: int, step: "DemoStep") -> None:
    if step.as_expected:
        mark = paint("warning", "refused") if step.refusal else paint("ok", "done")
    else:
        mark = paint("failure", "UNEXPECTED")
    _print(f"\n{number:>2}. {paint('bold', step.title)}  [{mark}]")
    _print(paint("dim", f"    > {step.request}"))
    for line in step.answer:
        _print(f"      {line}")


def _invite(stack: "LocalStack") -> None:
    identity = stack.make_identity(name="you")
    file, authority = identity.credentials_file, stack.authority_file
    check = stack.door + PROBE_PATH
    _print(f"""
{paint("bold", "It keeps running. Try this in another terminal:")}

  export {path_with_daypass()} DAYPASS_CREDENTIALS={file}
  export GATE={stack.gate} AUTHORITY={authority}
  {command("token")}
  {command("token", "-o", "header")} | curl --cacert $AUTHORITY -H @- $GATE/hello
  curl --cacert $AUTHORITY {check}

  python3 -c 'import daypass; print(daypass.Credentials.load().token())'

{paint("dim", "Ctrl-C stops it and removes everything")}""")


def _print(text: str = "") -> None:
    write(f"{text}\n")
