"""`daypass up` as people run it: a process of its own, a config file, signals."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.children import children_of
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.output_schema import mistakes_in
from support.raw import Answer, connect, exchange

HOST = "localhost"


@functools.cache
def runtime_folder(folder: Path) -> Path:
    """The temporary folder of programs that run in `folder`, removed when the tests end.

    It is not inside, since a Unix socket's path has at most 107 bytes, and those of pytest's
    folders are long already.
    """
    made = Path(tempfile.mkdtemp(prefix="up-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def as_text(line: str) -> str:
    """An error that is data, as `up` without `-o json` prints it."""
    error = json.loads(line)["error"]
    lines = "\n".join([error["message"], *filter(None, [error["hint"]])]).replace("\n", "\n  ")
    return f"daypass: {lines}\n"


class Up:
    """A running `daypass up`; `words` is what it has said so far."""

    def __init__(
        self,
        folder: Path,
        config: str,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        *,
        python: str = sys.executable,
        program: Sequence[str] = ("-m", "daypass"),
    ) -> None:
        self.folder = folder
        self.runtime = runtime_folder(folder)
        self.config_file = folder / "daypass.yaml"
        self.config_file.write_text(config)
        self.words = ""
        self.process = subprocess.Popen(
            [python, *program, "up", "--output", "json", *arguments],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONFAULTHANDLER": "1",
                "XDG_STATE_HOME": str(folder / "state"),
                "TMPDIR": str(self.runtime),
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert mistakes_in(("up", "-o", "json"), None, line) == ""
        self.ready: dict[str, Any] = json.loads(line) if line else {}

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.words += as_text(line) if line.startswith('{"error": ') else line

    @property
    def door(self) -> str:
        return str(self.ready["doors"][0])

    @property
    def port(self) -> int:
        return int(self.ready["listen"]["door"].rpartition(":")[2])

    @property
    def authority_file(self) -> Path:
        return Path(self.ready["certificateAuthority"])

    def connect(self, part: str = "door", *, name: str = HOST) -> ssl.SSLSocket:
        """A connection to its door, or to its `gate`."""
        port = int(self.ready["listen"][part].rpartition(":")[2])
        return connect(port, authority_pem=self.authority_file.read_text(), name=name)

    def send(self, request: bytes) -> Answer:
        with self.connect() as connection:
            return exchange(connection, request)

    def wait_for_words(self, words: str) -> None:
        """Come back once it has said this. Raises RuntimeError where it has ended."""

        def said() -> bool:
            ended = self.process.poll()
            if ended is not None:
                self._listener.join(60)
            if ended is not None and words not in self.words:
                raise RuntimeError(f"it has ended with {ended}:\n{self.words}")
            return words in self.words

        eventually(f"up says {words!r}", said)

    def envoy_pids(self) -> list[int]:
        return [pid for pid, name in children_of(self.process.pid).items() if name == "envoy"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; its exit code. Raises RuntimeError where it does not end, with what
        each of its threads is doing.
        """
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self._listener.join(60)
            raise RuntimeError(f"it does not end:\n{self.words}") from None
        self._listener.join(60)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def __enter__(self) -> Up:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end()
        else:
            self.wait()


def up_config(plane: ControlPlane, **changes: str) -> str:
    """A config for `plane` with a door on a free port; `changes` replaces lines by their key."""
    lines = {
        "version": "1",
        "cluster": (
            f"{{server: {plane.url}, certificateAuthority: {plane.ca_path}, "
            "serverName: kubernetes.default.svc}"
        ),
        "domains": "{lab: {host: localhost, front: envoy}}",
        "limits": "{requestsPerSecond: 10000, perSourcePerSecond: 10000}",
        "local": "{door: '127.0.0.1:0', apiServer: external}",
        **changes,
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())
