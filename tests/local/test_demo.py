"""`daypass demo`: all steps succeed, no token is shown, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from support.children import children_of
from support.deadline import eventually
from support.messages import check
from support.ports import listens
from support.programs import DAYPASS, output_of, run
from support.up import runtime_folder

JWT = re.compile(r"ey[\w-]{8,}\.[\w-]+\.[\w-]+")
DEAD = "http://127.0.0.1:9"


class Demo:
    """A running `daypass demo`, whose output goes to files. `seen`: children that it once had."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.runtime = runtime_folder(folder)
        self.seen: list[int] = []
        self._output, self._errors = folder / "stdout", folder / "stderr"
        with self._output.open("w") as stdout, self._errors.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daypass", "demo", *arguments],
                cwd=folder,
                env={**os.environ, "TMPDIR": str(self.runtime), **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )  # fmt: skip

    @property
    def stdout(self) -> str:
        return self._output.read_text()

    @property
    def stderr(self) -> str:
        return self._errors.read_text()

    @property
    def ports(self) -> list[int]:
        """The ports of door and gate."""
        found = re.findall(r"^  (?:door|gate)  https://localhost:(\d+)", self.stdout, re.M)
        return [int(port) for port in found]

    def wait_for(self, words: str) -> None:
        """Wait until stdout contains these words."""
        eventually(f"the demo prints {words!r}", lambda: words in self.stdout)

    def children(self) -> list[int]:
        """The processes that it has started and that are alive."""
        return list(children_of(self.process.pid))

    def end(self, number: signal.Signals | None = None, *, seconds: float = 120.0) -> int:
        """Send a signal, if any, and wait for the end; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.end()

    def remaining_files(self) -> list[str]:
        """The files that are still in its temporary folder."""
        return sorted(str(path.relative_to(self.runtime)) for path in self.runtime.rglob("*"))


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def marks(demo: Demo) -> list[tuple[int, str]]:
    """The number of each step, and what it was marked as."""
    found = re.findall(r"^ ?(\d+)\. .*\[([^]]+)\]$", demo.stdout, re.M)
    return [(int(number), mark) for number, mark in found]


def assert_next_step(demo: Demo) -> None:
    """The only message names what makes `daypass` work in this terminal."""
    _, line = demo.stderr.splitlines()
    assert re.fullmatch(r'  export PATH=\S+:"\$PATH"', line)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A demo that has ended. What surrounds it leads nowhere."""
    nowhere = {name: DEAD for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "ALL_PROXY")}
    nowhere["HOME"] = "/proc"  # nobody can write there, not even root
    nowhere["DAYPASS_CREDENTIALS"] = "/nonexistent"
    with Demo(tmp_path_factory.mktemp("demo"), "--once", environment=nowhere) as demo:
        demo.seen = eventually("its Envoy runs", demo.children)
        assert demo.end() == 0, demo.stdout + demo.stderr
    assert_next_step(demo)
    return demo


def test_every_step_succeeds_and_no_whole_token_or_colour_is_shown(finished: Demo) -> None:
    expected = ["done"] * 3 + ["refused"] * 7
    assert marks(finished) == list(enumerate(expected, start=1))
    assert "eyJ" in finished.stdout
    assert JWT.search(finished.stdout) is None
    assert "\x1b" not in finished.stdout


def test_after_the_demo_no_process_port_or_file_is_left(finished: Demo) -> None:
    assert finished.seen
    assert not [pid for pid in finished.seen if is_alive(pid)]
    assert len(finished.ports) == 2
    assert not [port for port in finished.ports if listens(port)]
    assert finished.remaining_files() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_demo_ends_it_at_once_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Demo(tmp_path, "--once") as demo:
        demo.wait_for("door  https://")
        children = demo.children()
        assert demo.end(number, seconds=60) == 1
    assert "Traceback" not in demo.stderr
    assert {mark for _, mark in marks(demo)} <= {"done", "refused"}
    assert demo.remaining_files() == []
    assert not [pid for pid in children if is_alive(pid)]


def test_the_demo_stays_up_until_a_signal(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        demo.wait_for("Ctrl-C")
        assert JWT.search(demo.stdout) is None
        (credentials,) = demo.runtime.glob("daypass-*/you-daypass-*.json")
        token = output_of(*DAYPASS, "token", "--credentials", credentials)
        assert JWT.fullmatch(token.strip())
        children = demo.children()
        assert demo.end(signal.SIGINT, seconds=60) == 0
    assert_next_step(demo)
    assert demo.remaining_files() == []
    assert children
    assert not [pid for pid in children if is_alive(pid)]


def test_a_closed_pipe_leaves_nothing(tmp_path: Path) -> None:
    script = f"{sys.executable} -m daypass demo --once | head -n 3"
    runtime = runtime_folder(tmp_path)
    ended = run("sh", "-c", script, environment={"TMPDIR": str(runtime)})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert list(runtime.iterdir()) == []


def test_an_envoy_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\necho no such luck\nexit 7\n")
    broken.chmod(0o700)
    with Demo(tmp_path, "--once", environment={"DAYPASS_ENVOY": str(broken)}) as demo:
        assert demo.end(seconds=60) == 1
    assert demo.stdout == ""
    check(demo.stderr, "exit code 7", "no such luck", reason="failed")
    assert demo.remaining_files() == []
