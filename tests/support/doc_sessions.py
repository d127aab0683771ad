"""A reader at a terminal, who types what a page shows from top to bottom."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools.docs.pages import ROOT, Block, HiddenCommand, Page

from support import network_of_its_own
from support.deadline import eventually
from support.doc_data import DATA
from support.doc_shell import Command, commands_in, lines_of
from support.doc_transcript import mistake_in
from support.examples import is_part_of_an_example

MARKER = "--- that was it, with exit code"
HOME = "/home/me"
"""The reader's home, as pages show it; the checkout is in its folder `daypass`."""
SECRET = "7q0zk3vr9b2mx5c8w1td"
"""The random part of a Secret's name, as pages show it: commands get the one printed last."""
SECONDS, READY_SECONDS = 90, 30
NO_HOSTS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A command that runs until it is stopped."""

    code: str
    number: str
    output: Path


class Session:
    """A shell in a home and on a network of its own."""

    def __init__(self, home: Path, *, ports: Sequence[int], hosts: Mapping[str, str]) -> None:
        self.home = home
        checkout = home / "daypass"
        checkout.mkdir()
        shutil.copytree(ROOT / "examples", checkout / "examples")
        (checkout / ".venv").symlink_to(Path(sys.prefix))
        programs = Path(sys.prefix) / "bin"
        self._shell = network_of_its_own.start(
            ["bash", "--noprofile", "--norc"],
            ports=ports,
            hosts=hosts,
            environment={"HOME": str(home), "PATH": f"{programs}:{os.defpath}", "LANG": "C.UTF-8"},
            folder=checkout,
        )
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
        while not (line := self._lines.get(timeout=SECONDS)).startswith(MARKER):
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

    def stop(self) -> str:
        """Stop the command that was started last; return what is wrong with its end."""
        running = self._running.pop()
        _, code = self.run(f"kill -TERM {running.number}; wait {running.number}")
        if code:
            return f"`{running.code}` stops with {code}:\n{self.printed_by(running)}"
        return ""

    def close(self) -> Iterator[str]:
        """Stop all that runs; yield what is wrong with the end of each command."""
        while self._running:
            if mistake := self.stop():
                yield mistake
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
def session(*, ports: Sequence[int] = (), hosts: Mapping[str, str] = NO_HOSTS) -> Iterator[Session]:
    """A session that reaches these ports of this machine, and has these names and addresses.

    What it leaves is removed. The home's path is short, for Unix sockets below it.
    """
    home = Path(tempfile.mkdtemp(prefix="docs-"))
    opened = Session(home, ports=ports, hosts=hosts)
    try:
        yield opened
    finally:
        opened.kill()
        shutil.rmtree(home, ignore_errors=True)


def treatment(block: Block) -> str:
    """Return what is done with a block of the documentation."""
    if block.language == "text":
        return "text, without any command"
    if block.part_of or (block.language == "python" and is_part_of_an_example(block.code)):
        return "compared with a file that is run elsewhere"
    if block.language in DATA and not (block.directive and block.directive.word == "not-run"):
        return "read by its loader"
    return "read by its parser, but not run" if block.not_run else "run"


def is_run(block: Block) -> bool:
    """Whether a block is run, or is written to a file for what is run."""
    return treatment(block) == "run" or bool(block.title and not block.not_run)


def is_followed(page: Page) -> bool:
    """Whether there is something to run on a page."""
    return any(is_run(block) for block in page.blocks)


def follow(page: Page, terminal: Session) -> Iterator[str]:
    """Run a page from top to bottom; yield what differs from it, and stop at the first failure."""
    for step in page.steps:
        if isinstance(step, Block) and not is_run(step):
            continue
        mistakes = list(_follow_step(step, terminal))
        if mistakes:
            yield from mistakes
            return
    for mistake in terminal.close():
        yield f"{page.path}: {mistake}"


def follow_hidden(code: str, terminal: Session) -> Iterator[str]:
    """Run a command that is on no page; yield why it fails."""
    yield from _follow_command(Command(place="before the page", code=code), terminal)


def _follow_step(step: Block | HiddenCommand, terminal: Session) -> Iterator[str]:
    if isinstance(step, HiddenCommand):
        if not step.code:
            mistake = terminal.stop()
            yield from [f"{step.place}: {mistake}"] if mistake else []
        else:
            yield from _follow_command(Command(place=step.place, code=step.code), terminal)
    elif step.title:
        _, code = terminal.run(f"cat > {step.title} <<'END-OF-FILE'\n{step.code}END-OF-FILE")
        if code:
            yield f"{step.place}: {step.title} cannot be written"
    elif step.language == "python":
        program = f"python - <<'END-OF-FILE'\n{step.code}END-OF-FILE"
        yield from _follow_command(Command(place=step.place, code=program), terminal)
    else:
        for command in commands_in(step):
            mistakes = list(_follow_command(command, terminal))
            yield from mistakes
            if mistakes:
                return


def _follow_command(command: Command, terminal: Session) -> Iterator[str]:
    before, last = _split(command)
    if before:
        printed, code = terminal.run(before)
        if code:
            yield f"{command.place}: `{before}` ends with {code}:\n{printed}"
            return
    if last:
        yield from _follow_running(command, terminal.start(last), terminal)
        return
    printed, code = terminal.run(command.code)
    if code and not command.output:
        yield f"{command.place}: `{command.code}` ends with {code}:\n{printed}"
    elif command.output is not None and (mistake := mistake_in(command.output, printed)):
        yield f"{command.place}: `{command.code}` prints something else:\n{mistake}"


def _follow_running(command: Command, running: Running, terminal: Session) -> Iterator[str]:
    """Wait until a command that goes on has printed what the page shows."""
    shown = command.output or ("...", "daypass: Ctrl-C stops it")

    def agrees() -> bool:
        if not Path(f"/proc/{running.number}/exe").exists():  # a zombie has none, too
            raise RuntimeError("it has ended")
        return not mistake_in(shown, terminal.printed_by(running))

    try:
        eventually(f"{running.code} prints this", agrees, seconds=READY_SECONDS)
    except (TimeoutError, RuntimeError):
        mistake = mistake_in(shown, terminal.printed_by(running))
        yield f"{command.place}: `{running.code}` prints something else:\n{mistake}"


def _split(command: Command) -> tuple[str, str]:
    """Return what of a command is run first, and the part that goes on, if there is one."""
    for words in lines_of("daypass", command.code, command.place):
        if words[:1] == ["up"] or (words[:1] == ["agent"] and "--once" not in words):
            first, _, last = command.code.rpartition("&&")
            return first.strip(), last.strip()
    return "", ""
