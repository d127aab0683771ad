"""Processes that share tokens on disk, fork, exit, or are killed at any moment."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from errno import ENOLCK
from functools import partial
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.client.credentials import Credentials
from daypass.client.shared_cache import CacheWarning, FileLock, SharedTokenCache
from daypass.client.token import CachedToken
from support.exchanges import CredentialsAtDoor
from support.fake_door import (
    Behaviour,
    FakeDoor,
    credentials_document,
    say_nothing,
    short_lived_token,
    token_answer,
)
from support.messages import check
from support.timing import FakeTiming

SCRIPT = """
import sys, daypass
sys.stdin.read(1)
print(daypass.Credentials.from_file(sys.argv[1], shared=True).token().value.reveal())
"""


def now_answer(number: int = 1) -> bytes:
    now = SYSTEM_CLOCK.unix()
    return token_answer(now=now, date=now, number=number)


class Machine:
    """A user's cache, a credentials file, and processes with both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "credentials.json"
        self.environ = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        self.tokens = folder / "cache" / "daypass" / "tokens"

    @contextmanager
    def door(self, *script: bytes | Behaviour) -> Iterator[FakeDoor]:
        """A running door, and its URL in the credentials file."""
        with FakeDoor(*script, context=None) as door:
            self.file.write_text(json.dumps(credentials_document(door.url)))
            self.file.chmod(0o600)
            yield door

    def start(self, script: str = SCRIPT, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(self.file), *arguments],
            env=self.environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def credentials(self, *, shared: bool = True) -> Credentials:
        return Credentials.from_file(self.file, shared=shared)

    def load(self, path: Path) -> CachedToken | None:
        return SharedTokenCache(folder=str(self.tokens), environ={}, warn=_no_warning).load(
            path.name
        )

    def entries(self) -> list[Path]:
        return [p for p in self.tokens.glob("*") if "." not in p.name]


def _no_warning(problem: CacheWarning) -> None:
    raise problem


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", made.environ["XDG_CACHE_HOME"])
    return made


def release(process: subprocess.Popen[str]) -> None:
    """Let a process that reads its stdin go on."""
    assert process.stdin is not None
    process.stdin.write("x")
    process.stdin.flush()


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert err == ""
    return out.strip()


def hanging_until_asked() -> tuple[Behaviour, threading.Event]:
    """A door that never answers, and what is set once it is asked."""
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        asked.set()
        say_nothing(connection)

    return hang, asked


def test_processes_that_start_at_once_make_one_exchange(machine: Machine) -> None:
    with machine.door(now_answer(1), now_answer(2)) as door:
        processes = [machine.start() for _ in range(12)]
        for process in processes:
            release(process)
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(finish, processes))
    assert set(got) == {short_lived_token(1)}
    assert len(door.requests) == 1
    [entry] = machine.entries()
    assert entry.stat().st_mode & 0o777 == 0o600
    assert machine.tokens.stat().st_mode & 0o777 == 0o700


def test_a_process_waiting_for_a_killed_one_continues_immediately(machine: Machine) -> None:
    hang, asked = hanging_until_asked()
    with machine.door(hang, now_answer(2)):
        first = machine.start()
        release(first)
        assert asked.wait(60)
        second = machine.start()
        first.kill()
        first.communicate()
        assert second.communicate("x", timeout=60)[0].strip() == short_lived_token(2)


KILLED_AT = """
import fcntl, os, sys
from daypass.client.credentials_source import read_source
from daypass.cli.fast_path import cached_token

point = int(sys.argv[2])
calls = 0
def counted(real):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == point:
            os.kill(os.getpid(), 9)
        return real(*args, **kwargs)
    return call

for name in ("open", "write", "replace", "fchmod", "close", "utime", "makedirs"):
    setattr(os, name, counted(getattr(os, name)))
fcntl.flock = counted(fcntl.flock)
cached_token(read_source({}, sys.argv[1]), None, None, use_cache=True)
"""


def test_a_process_killed_at_any_point_leaves_a_usable_cache(machine: Machine) -> None:
    survived = 0
    with machine.door(now_answer()):
        for point in range(1, 60):
            killed = machine.start(KILLED_AT, str(point))
            out, err = killed.communicate(timeout=60)
            assert (killed.returncode, err) in ((-signal.SIGKILL, ""), (0, "")), err
            assert out == ""
            for path in machine.entries():
                entry = machine.load(path)
                assert entry is not None
                assert entry.value == short_lived_token()
                path.unlink()
            survived = survived + 1 if killed.returncode == 0 else 0
            if survived == 2:
                break
        assert survived == 2, "there are more points to be killed at"
        after = machine.start(KILLED_AT, "0")
        assert after.communicate(timeout=60) == ("", "")
        assert len(machine.entries()) == 1


def test_a_link_in_the_cache_is_replaced_with_a_warning(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with machine.door(now_answer(1), now_answer(2)) as door:
        machine.credentials().token()
        [path] = machine.entries()
        path.symlink_to(path.rename(machine.folder / "elsewhere"))
        for _ in range(2):
            assert machine.credentials().token().value.reveal() == short_lived_token(2)
    assert len(door.requests) == 2
    assert short_lived_token(1) in (machine.folder / "elsewhere").read_text()
    [record] = caplog.records
    assert str(path) in record.getMessage()
    check(record.getMessage(), reason="warning", hide="[0-9a-f]{64}")


# -- locks


def locks(folder: Path, count: int = 2) -> list[FileLock]:
    return [FileLock(str(folder / "lock")) for _ in range(count)]


def test_where_no_lock_can_be_had_each_is_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(ENOLCK, os.strerror(ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    one, other = locks(tmp_path)
    assert one.acquire()
    assert other.acquire()
    one.release()
    assert FileLock(str(tmp_path / "none" / "lock")).acquire()


def test_a_file_lock_is_exclusive_and_survives_removal_of_its_file(tmp_path: Path) -> None:
    one, other, third = locks(tmp_path, 3)
    assert one.acquire()
    assert not other.acquire()
    (tmp_path / "lock").unlink()
    assert other.acquire()
    assert not third.acquire()
    one.release()
    assert not third.acquire()
    other.release()
    assert third.acquire()
    third.release()
    third.release()


def test_a_forked_child_does_not_keep_the_file_lock(tmp_path: Path) -> None:
    one, other = locks(tmp_path)
    assert one.acquire()
    may_end, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(end)
        os.read(may_end, 1)
        os._exit(0)
    try:
        one.release()
        assert other.acquire()
        other.release()
    finally:
        os.close(end)
        os.close(may_end)
        os.waitpid(pid, 0)


# -- fork


def in_child(work: Callable[[], str]) -> str:
    """What `work` gives in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writer, work().encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as given:
        text = given.read()
    os.waitpid(pid, 0)
    return text


def test_a_child_forked_during_an_exchange_makes_its_own(
    wired: CredentialsAtDoor, timing: FakeTiming
) -> None:
    timing.exchange_seconds = 1000  # so long it would wait for an exchange of its parent
    begun, may_end = threading.Event(), threading.Event()
    parent = os.getpid()

    def door(_: object) -> bytes:
        if os.getpid() != parent:
            return token_answer(number=2)
        begun.set()
        may_end.wait()
        return token_answer(number=1)

    credentials = wired(door)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(credentials.token)
        begun.wait()
        assert in_child(lambda: credentials.token().value.reveal()) == short_lived_token(2)
        may_end.set()
        assert first.result().value.reveal() == short_lived_token(1)


def test_a_child_forked_while_a_thread_held_the_lock_is_not_blocked(
    wired: CredentialsAtDoor,
) -> None:
    credentials = wired(lambda _: token_answer())
    held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with credentials._tokens._process().lock:
            held.set()
            may_end.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        held.wait()
        assert in_child(lambda: credentials.token().value.reveal()) == short_lived_token()
        may_end.set()


def test_forked_children_refresh_at_different_times(
    wired: CredentialsAtDoor, timing: FakeTiming
) -> None:
    timing.jitter_value = 0.5
    credentials = wired(lambda _: token_answer())
    credentials.token()
    timing.fake_clock.advance(1800)  # it is stale from here on, for the parent

    def begun_after(jitter: float) -> str:
        timing.jitter_value = jitter
        for waited in range(0, 1790, 10):
            credentials.token()
            if timing.begun:
                return str(waited)
            timing.fake_clock.advance(10)
        return "never"

    waited = [in_child(partial(begun_after, jitter)) for jitter in (0.0, 0.5, 0.99)]
    assert waited == ["360", "860", "1340"]


# -- the end


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_interpreter_exits_while_a_refresh_hangs(machine: Machine, way: str) -> None:
    """No thread keeps the interpreter alive, and nothing is said at the end."""
    script = """
import asyncio, sys, threading, daypass
credentials = daypass.Credentials.from_file(sys.argv[1])
def ask():
    if sys.argv[2] == "async":
        return asyncio.run(credentials.token_async())
    return credentials.token()
assert threading.active_count() == 1
token = ask()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(20)
assert threading.active_count() == 1
[state] = credentials._tokens._process().states.values()
state.token.fresh_seconds = 0
assert ask() is token
print(threading.active_count(), flush=True)
sys.stdin.read(1)
"""
    hang, asked = hanging_until_asked()
    with machine.door(now_answer(), hang):
        process = machine.start(script, way)
        assert asked.wait(60)
        out, err = process.communicate("x", timeout=20)
        assert (process.returncode, out, err) == (0, "2\n", "")
