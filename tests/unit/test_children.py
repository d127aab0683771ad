"""Child processes end with the test run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.children import Child
from support.deadline import eventually
from support.messages import raises

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
PARENT = f"""
import os, signal, sys
from pathlib import Path
from support.children import Child
folder = Path(sys.argv[1])
child = Child({SLEEPER!r}, log=folder / "child.log", folder=folder)
print(child.pid, flush=True)
signal.pause()
"""


def is_running(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be counted does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.parametrize(
    ("grace_seconds", "signal_number"),
    [(0, signal.SIGKILL), (10, signal.SIGTERM)],
    ids=["at once", "with grace"],
)
def test_a_child_has_its_own_session_and_is_stopped_and_waited_for(
    tmp_path: Path, grace_seconds: float, signal_number: signal.Signals
) -> None:
    child = Child(SLEEPER, log=tmp_path / "child.log", folder=tmp_path)
    eventually("it is up", lambda: child.tail() == "up")
    assert os.getsid(child.pid) == child.pid
    child.stop(grace_seconds=grace_seconds)
    assert child.exit_code() == -signal_number
    child.stop()


def test_a_child_that_exited_is_reported_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('port taken'); raise SystemExit(3)"]
    child = Child(command, log=tmp_path / "child.log", folder=tmp_path)
    eventually("it ends", lambda: child.exit_code() is not None)
    with raises(RuntimeError, match="3(.|\n)*port taken"):
        child.check()
    child.stop()


def test_a_child_listens_on_the_socket_that_it_is_given(tmp_path: Path) -> None:
    script = """
import os, socket
assert (os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"]) == (str(os.getpid()), "1")
connection, _ = socket.socket(fileno=3).accept()
connection.sendall(b"here")
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        command = [sys.executable, "-c", script]
        child = Child(command, log=tmp_path / "child.log", folder=tmp_path, listener=listener)
    try:
        with socket.create_connection(address, timeout=60) as connection:
            assert connection.recv(100) == b"here"
    finally:
        child.stop()


def test_starting_a_child_on_another_thread_is_refused(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(Child, SLEEPER, log=tmp_path / "child.log", folder=tmp_path)
    with raises(RuntimeError):
        started.result()


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        eventually("it is up", lambda: (tmp_path / "child.log").read_text() == "up\n")
        assert is_running(pid)
        parent.kill()
    eventually("the child is gone", lambda: not is_running(pid))
