"""The status line: only on a terminal, whole next to messages, and gone at the end."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys

import pytest

from support.terminal import Terminal, screen

VERIFY = ("verify", "https://127.0.0.1:9/kubernetes", "--wait", "--timeout", "1h")
WAITING = "waiting: 127.0.0.1: no connection"


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
@pytest.mark.parametrize("pipe", [False, True], ids=["all", "stdout is a pipe"])
def test_a_terminal_shows_what_goes_on_and_ctrl_c_leaves_nothing(
    env: dict[str, str], pipe: bool
) -> None:
    with Terminal(*VERIFY, env=env, pipe=pipe) as shown:
        shown.wait_for(f"s  {WAITING}")
        shown.wait_for(f"1s  {WAITING}")
        shown.type(b"\x03")
        assert shown.wait() == 130
    assert not any(screen(shown.written))
    assert "\x1b[?25" not in shown.written, "the cursor is hidden, also after a kill"
    assert ("\x1b[2m" in shown.written) is not bool(env)
    assert shown.out == ""


@pytest.mark.parametrize(
    ("arguments", "env"), [(("--output", "json"), {}), ((), {"TERM": "dumb"})], ids=["json", "dumb"]
)
def test_otherwise_a_terminal_gets_the_lines_that_a_pipe_gets(
    arguments: tuple[str, ...], env: dict[str, str]
) -> None:
    with Terminal(*VERIFY, *arguments, env=env) as shown:
        shown.wait_for("\n")
        shown.process.send_signal(signal.SIGTERM)
        shown.wait()
    assert shown.written.startswith(f"daypass: {WAITING}")
    assert "\x1b" not in shown.written


def test_a_pipe_gets_no_status_line_and_rich_is_not_imported() -> None:
    program = (
        "import sys; sys.modules['rich'] = None; from daypass.cli import main;"
        f"sys.exit(main({list(VERIFY)!r}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        first = child.stderr.readline()
        child.terminate()
        out, rest = child.communicate(timeout=60)
    assert first.startswith(f"daypass: {WAITING}")
    assert "\x1b" not in out + first + rest


PROGRAM = """
import threading
from argparse import Namespace
from daypass.cli.console import log, write
from daypass.cli.progress import progress

def work(name):
    for number in range(20):
        log(f"{name} {number}", "hint")

with progress(Namespace(), "working") as status:
    status.show("long " * 50)
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for number in range(20):
        write(f"c {number}\\n")
    for thread in threads:
        thread.join()
    status.show("\x1b[2J")
    threading.Event().wait(1)
log("end")
"""


def test_messages_of_all_threads_stay_whole_and_in_order() -> None:
    with Terminal("-c", PROGRAM) as shown:
        assert shown.wait() == 0
    assert "s  ?[2J" in shown.written
    lines = screen(shown.written)
    messages = [line for line in lines if line and line != "  hint"]
    for name in ("daypass: a", "daypass: b", "c"):
        numbers = [line.rpartition(" ")[2] for line in messages if line.startswith(f"{name} ")]
        assert numbers == [str(number) for number in range(20)]
    assert len(messages) == 61
    assert messages[-1] == "daypass: end"
    for line, after in itertools.pairwise(lines):
        assert (after == "  hint") is line.startswith(("daypass: a", "daypass: b"))
