"""`daypass agent` as users run it: a process, a config, and a door whose answers a test sets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daypass._core.clock import SYSTEM_CLOCK
from support.deadline import eventually
from support.fake_door import (
    FakeDoor,
    credentials_document,
    say_nothing,
    status_answer,
    token_answer,
)

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("DAYPASS_", "NOTIFY_", "WATCHDOG_", "XDG_"))
    and name.lower() not in ("https_proxy", "no_proxy")
}


class Door(FakeDoor):
    """A door on loopback that grants tokens of `granted_seconds`, each another one; `refusal`: what
    it answers instead; `is_silent`: it does not answer."""

    def __init__(self, granted_seconds: int = 3600) -> None:
        super().__init__(self._behave, context=None)
        self.granted_seconds = granted_seconds
        self.refusal: bytes | None = None
        self.is_silent = False
        self.granted = 0

    def _behave(self, connection: socket.socket) -> None:
        if self.is_silent:
            say_nothing(connection)
        else:
            connection.sendall(self.refusal or self._grant())

    def _grant(self) -> bytes:
        now = SYSTEM_CLOCK.unix()
        self.granted += 1
        return token_answer(
            now=now, date=now, granted_seconds=self.granted_seconds, number=self.granted
        )

    def refuse(self, code: int = 403) -> None:
        self.refusal = status_answer(code, "because")

    def credentials(self, folder: Path, **changes: object) -> Path:
        file = folder / "bot.json"
        partial = folder / "bot.json.new"
        partial.touch(0o600)
        partial.write_text(json.dumps(credentials_document(self.url, **changes)))
        partial.rename(file)
        return file


class Agent:
    """A running `daypass agent --log json`; its log is a file next to the config's folder."""

    def __init__(
        self, config: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = Path(f"{config.parent}.log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daypass", "agent", "--config", str(config), "--log", "json",
                 *arguments],
                env={**CLEAN, **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    @property
    def words(self) -> str:
        """What it has printed so far."""
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        lines = self.words.splitlines(keepends=True)
        return [json.loads(each) for each in lines if each[0] == "{" and each[-1] == "\n"]

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        """The event of this name, when there are so many of them."""

        def seen() -> dict[str, Any] | None:
            has_ended = self.process.poll() is not None
            found = [event for event in self.events if event["event"] == name]
            if len(found) >= count:
                return found[count - 1]
            if has_ended:
                raise RuntimeError(f"it has ended:\n{self.words}")
            return None

        return eventually(f"the agent logs {name}", seen)

    def count(self, name: str) -> int:
        return sum(event["event"] == name for event in self.events)

    def url(self, path: str) -> str:
        where = str(self.wait_for("started")["message"]).rpartition("http://")[2]
        return f"http://{where}{path}"

    def end(self, number: int | None = signal.SIGTERM) -> int:
        """Send a signal, if any, and wait for the end; its exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running_agent(
    config: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Agent]:
    agent = Agent(config, *arguments, environment=environment)
    try:
        yield agent
    finally:
        if agent.process.returncode is None:
            agent.process.kill()
            agent.end(None)


def awaiting(name: str) -> list[str]:
    """A command that prints `up`, waits for a signal, prints `got`, and exits with 7.

    Not a shell's trap: when that runs depends on what the shell's child does meanwhile.
    """
    script = (
        "import signal, sys\n"
        f"awaited = {{signal.{name}}}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, awaited)\n"
        "print('up', flush=True)\n"
        "signal.sigwait(awaited)\n"
        "print('got', flush=True)\n"
        "sys.exit(7)\n"
    )
    return [sys.executable, "-c", script]


def write_config(folder: Path, text: str) -> Path:
    """A config file, replaced whole; `HERE` in it is the folder."""
    partial = folder / "agent.toml.new"
    partial.write_text(text.replace("HERE", str(folder)))
    partial.chmod(0o600)
    return partial.rename(folder / "agent.toml")


def daypass(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daypass", *arguments],
        env={**CLEAN, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def running_command(
    environment: Mapping[str, str], *arguments: str, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """`daypass run` with these arguments; its command is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "daypass", "run", *arguments],
        env={**CLEAN, **environment},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
