"""A reader at a terminal, who types what a page shows from top to bottom."""

from __future__ import annotations

import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools.docs.pages import ROOT, Block, Page

from docs.checks import treatment
from docs.shell import SHELL, Command, commands_in, lines_of
from docs.transcript import mistake_in
from support import network_of_its_own
from support.deadline import eventually

MARKER = "--- that was it, with exit code"
HOME = "/home/me"
"""The reader's home, as pages show it; the checkout is in its folder `daypass`."""
SECRET = "7q0zk3vr9b2mx5c8w1td"
"""The random part of a Secret's name, as pages show it: commands get the one printed last."""
SHELL_COMMAND = ("bash", "--noprofile", "--norc")
SECONDS, READY_SECONDS = 90, 30
NO_HOSTS: Mapping[str, str] = {}
NO_ADDRESSES: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A command that runs until it is stopped."""

    code: str
    number: str
    output: Path


class Session:
    """A shell, and the home of its user. A command that takes longer than `seconds` fails."""

    def __init__(self, home: Path, shell: subprocess.Popen[str], *, seconds: float) -> None:
        self.home = home
        self._shell = shell
        self._seconds = seconds
        self._secret = SECRET
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._running: list[Running] = []
        self.run("trap 'kill $(jobs -p) 2>/dev/null' EXIT")  # the tests may be killed

    def _read(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            self._lines.put(line)

    def run(self, code: str) -> tuple[str, int]:
        """Run a command, and return what it prints and its exit code."""
        assert self._shell.stdin is not None
        code = code.replace(SECRET, self._secret).replace(HOME, str(self.home))
        self._shell.stdin.write(f"{{ {code}\n}} </dev/null; printf '\\n{MARKER} %d\\n' $?\n")
        self._shell.stdin.flush()
        printed = ""
        while not (line := self._lines.get(timeout=self._seconds)).startswith(MARKER):
            printed += line
        if found := re.findall(r"-daypass-([a-z0-9]{20})\b", printed):
            self._secret = found[-1]
        return self._as_shown(printed.removesuffix("\n")), int(line.removeprefix(MARKER))

    def _as_shown(self, printed: str) -> str:
        return printed.replace(str(ROOT), f"{HOME}/daypass").replace(str(self.home), HOME)

    def start(self, code: str) -> Running:
        """Start a command that goes on, in the background."""
        output = self.home / f".output-{len(self._running)}"
        number, _ = self.run(f"{code} </dev/null >{output} 2>&1 &\necho $!")
        self._running.append(Running(code=code, number=number.strip(), output=output))
        return self._running[-1]

    def printed_by(self, running: Running) -> str:
        return self._as_shown(running.output.read_text())

    def close(self) -> Iterator[str]:
        """Stop all that runs, the last one first; yield what is wrong with the end of each."""
        for running in reversed(self._running):
            _, code = self.run(f"kill -TERM {running.number}; wait {running.number}")
            if code:
                yield f"`{running.code}` stops with {code}:\n{self.printed_by(running)}"
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(30)

    def kill(self) -> None:
        """End all that is left."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait(30)
        self._reader.join(30)
        for stream in (self._shell.stdin, self._shell.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


@contextmanager
def session(
    *, ports: Sequence[int] = (), hosts: Mapping[str, str] = NO_HOSTS,
    https: Mapping[str, int] = NO_ADDRESSES,
) -> Iterator[Session]:  # fmt: skip
    """A session that reaches these ports of this machine, and has these names and addresses.

    `https`: which port of this machine is port 443 of an address. What it leaves is removed. The
    home's path is short, for Unix sockets below it.
    """
    home = Path(tempfile.mkdtemp(prefix="docs-"))
    checkout = home / "daypass"
    checkout.mkdir()
    shutil.copytree(ROOT / "examples", checkout / "examples")
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    programs = Path(sys.prefix) / "bin"
    shell = network_of_its_own.start(
        SHELL_COMMAND,
        ports=ports,
        hosts=hosts,
        https=https,
        environment={"HOME": str(home), "PATH": f"{programs}:{os.defpath}", "LANG": "C.UTF-8"},
        folder=checkout,
    )
    opened = Session(home, shell, seconds=SECONDS)
    try:
        yield opened
    finally:
        opened.kill()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def session_here(home: Path, *, seconds: float) -> Iterator[Session]:
    """A session on this machine itself, in the checkout, with the environment of the tests."""
    shell = subprocess.Popen(
        SHELL_COMMAND, cwd=ROOT, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    opened = Session(home, shell, seconds=seconds)
    try:
        yield opened
    finally:
        opened.kill()


def is_run(block: Block) -> bool:
    """Whether a block is run, or is written to a file for what is run."""
    return treatment(block) == "run" or bool(block.title and not block.not_run)


def is_followed(page: Page) -> bool:
    """Whether there is something to run on a page."""
    return not page.not_run and any(map(is_run, page.steps))


def is_typed(block: Block) -> bool:
    """Whether a reader types a block or saves it as a file."""
    return not block.is_hidden and (block.language in SHELL or bool(block.title))


def follow(
    page: Page, terminal: Session, chosen: Callable[[Block], bool] = is_run
) -> Iterator[str]:
    """Run the chosen blocks of a page from top to bottom; yield what differs from it, and stop at
    the first failure. The session ends with the page.
    """
    for mistake in follow_blocks(page, terminal, chosen):
        yield mistake
        return
    for mistake in terminal.close():
        yield f"{page.path}: {mistake}"


def follow_blocks(
    page: Page, terminal: Session, chosen: Callable[[Block], bool] = is_run
) -> Iterator[str]:
    """Run the chosen blocks as `follow` does, in a session that goes on."""
    blocks = filter(chosen, page.steps)
    for command in itertools.chain.from_iterable(map(_commands_of, blocks)):
        if mistake := follow_command(command, terminal):
            yield mistake
            return


def _commands_of(block: Block) -> list[Command]:
    """Return what a reader types; a file and a program of Python are the input of a command."""
    if not block.title and block.language != "python":
        return commands_in(block)
    program = f"cat > {block.title}" if block.title else "python -"
    code = f"{program} <<'END-OF-FILE'\n{block.code}END-OF-FILE"
    return [Command(place=block.place, code=code)]


def follow_command(command: Command, terminal: Session) -> str:
    """Run a command; return how what happens differs from the page, empty if it does not."""
    mistake = _run(command, terminal)
    if not (mistake and command.is_repeated):
        return mistake

    def is_right() -> bool:
        nonlocal mistake
        mistake = _run(command, terminal)
        return not mistake

    with suppress(TimeoutError):
        eventually(f"{command.code} prints this", is_right, seconds=READY_SECONDS)
    return mistake


def _run(command: Command, terminal: Session) -> str:
    first, last = _split(command)
    printed, code = terminal.run(first or "true")
    if code and (last or not command.output):
        return f"{command.place}: `{first}` ends with {code}:\n{printed}"
    shown = command.output
    if last:
        shown = shown or "...\n...Ctrl-C stops it..."
        printed = _printed_at_last(terminal.start(last), terminal, shown)
    if shown is not None and (mistake := mistake_in(shown, printed)):
        return f"{command.place}: `{last or first}` prints something else:\n{mistake}"
    return ""


def _split(command: Command) -> tuple[str, str]:
    """Return what of a command comes to its end, and the part after it that goes on."""
    for words in lines_of("daypass", command.code, command.place):
        if words[:1] == ["up"] or (words[:1] in (["agent"], ["demo"]) and "--once" not in words):
            first, _, last = command.code.rpartition("&&")
            return first.strip(), last.strip()
    return command.code, ""


def _printed_at_last(running: Running, terminal: Session, shown: str) -> str:
    """Wait until a command has printed what the page shows, or ends; return what it printed."""

    def is_done() -> bool:
        has_ended = not Path(f"/proc/{running.number}/exe").exists()  # a zombie has none, too
        return has_ended or not mistake_in(shown, terminal.printed_by(running))

    with suppress(TimeoutError):
        eventually(f"{running.code} prints this", is_done, seconds=READY_SECONDS)
    return terminal.printed_by(running)
