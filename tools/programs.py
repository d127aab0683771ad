"""Run a command, and fail if it or anything below it starts a program that a bare machine lacks.

    python -m tools.programs COMMAND [ARGUMENT...]

`make test` needs python3, make and git, and the programs that every Debian has. A test that starts
another one passes only where somebody has installed that. So Linux asks here before each `execve`,
also of grandchildren and by absolute path (seccomp's user notification), and the programs that are
not on the list are printed at the end. Programs are allowed in the checkout, in the folders of
Python and of what `make` caches, and in those of temporary files; others only by name.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

NAMES = """
basename bash cat chmod cp cut dash date dd dirname echo env expr false find grep head hostname id
kill ln ls mkdir mkfifo mktemp mount mv nohup od printenv printf readlink rm rmdir sed seq setsid sh
sleep sort stat stty tail tar tee test touch tr true tty umount uname unshare wc xargs yes
git make python3
"""
BARE = frozenset(NAMES.split())
"""In Debian's packages of priority `required`, but for the last three."""

ROOT = Path(__file__).resolve().parent.parent
PATH_LIMIT = 4096

# linux/seccomp.h, linux/audit.h, linux/bpf_common.h
_FILTER_WITH_LISTENER = 1 << 3
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_LOAD, _IS, _RETURN = 0x20, 0x15, 0x06
_NO_NEW_PRIVILEGES = 38
# For each machine: its number for audit, and the system calls seccomp, execve and execveat.
_MACHINES = {"x86_64": (0xC000003E, 317, 59, 322), "aarch64": (0xC00000B7, 277, 221, 281)}


class CannotSee(Exception):
    """This machine cannot report the programs that are started; the message says why."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _listen() -> int:
    """Make each later execve of this process and its children wait for an answer.

    Return the descriptor to answer on. Raises CannotSee.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise CannotSee(f"there is no seccomp on {sys.platform} {platform.machine()}")
    audit, seccomp, execve, execveat = machine
    instructions = b"".join(
        struct.pack("HBBI", *one)
        for one in (
            (_LOAD, 0, 0, 4), (_IS, 0, 3, audit),
            (_LOAD, 0, 0, 0), (_IS, 2, 0, execve), (_IS, 1, 0, execveat),
            (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ASK),
        )
    )  # fmt: skip
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(instructions)
    program = _Program(len(instructions) // 8, ctypes.cast(memory, ctypes.c_void_p))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener: int = libc.syscall(seccomp, 1, _FILTER_WITH_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise CannotSee(f"seccomp: {os.strerror(ctypes.get_errno())}")
    return listener


def started_program(pid: int, arguments: Sequence[int], *, at: bool) -> Path | None:
    """The file that a process executes now; None where it is not there, or the process is gone."""
    folder, path = (arguments[0], arguments[1]) if at else (None, arguments[0])
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(path)
            # A string ends at the end of its page at the latest where the next one is not mapped.
            text = memory.read(min(PATH_LIMIT, 4096 - path % 4096))
            if b"\0" not in text:
                text += memory.read(PATH_LIMIT)
        name = os.fsdecode(text.split(b"\0")[0])
        if folder is not None and folder < 1 << 31:
            base = Path(f"/proc/{pid}/fd/{folder}")
            return (base / name if name else base).resolve(strict=True)
        return Path(f"/proc/{pid}/cwd", name).resolve(strict=True)
    except OSError:
        return None


def programs_of(file: Path) -> list[Path]:
    """The file, and the interpreters that the kernel starts for it where it is a script."""
    try:
        with file.open("rb") as script:
            first = script.readline(256)
    except OSError:
        return [file]
    if not first.startswith(b"#!") or not (words := first[2:].split()):
        return [file]
    return [file, *programs_of(Path(os.fsdecode(words[0])))]


def is_listed(file: Path, folders: Sequence[Path]) -> bool:
    """Whether a bare machine has the program, or `make` has brought it."""
    real = file.resolve()
    if any(real.is_relative_to(folder) for folder in folders):
        return True
    if real == Path(sys.executable).resolve() or real.parent.name == "git-core":
        return True
    return file.name in BARE or real.name in BARE  # Debian's `sh` is dash


def own_folders() -> list[Path]:
    """Where the programs are that the checkout, Python and `make` have brought."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [folder.resolve() for folder in (ROOT, cache, Path(tempfile.gettempdir()))]


def watch(command: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Run a command. Return its exit code, and the programs that are not listed, each with the
    command line that started it. Raises CannotSee before anything has started.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        try:
            listener = _listen()
        except CannotSee as error:
            theirs.send(str(error).encode())
            os._exit(1)
        socket.send_fds(theirs, [b"ok"], [listener])
        os.close(listener)
        theirs.close()
        try:
            os.execvp(command[0], list(command))  # noqa: S606
        except OSError as error:
            print(f"programs: {command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    theirs.close()
    message, descriptors, _, _ = socket.recv_fds(ours, PATH_LIMIT, 1)
    ours.close()
    if not descriptors:
        os.waitpid(child, 0)
        raise CannotSee(message.decode())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the command as well
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda sent, _: os.kill(child, sent))
    return _answer_all(descriptors[0], child)


def _answer_all(listener: int, child: int) -> tuple[int, dict[str, str]]:
    """Let every program start, until the child has ended."""
    folders, unlisted, known = own_folders(), dict[str, str](), set[Path]()
    ended = os.pidfd_open(child)
    events = select.poll()
    events.register(listener, select.POLLIN)
    events.register(ended, select.POLLIN)
    while True:
        ready = dict(events.poll())
        if not ready.get(listener, 0) & select.POLLIN:
            if ended in ready:
                break
            continue
        request = array.array("B", bytes(80))
        try:
            fcntl.ioctl(listener, _RECEIVE, request)
        except OSError:  # it was killed meanwhile
            continue
        number, pid, _, call, _, _, *arguments = struct.unpack("QIIiIQ6Q", request)
        file = started_program(pid, arguments, at=call == _MACHINES[platform.machine()][3])
        if file is not None and file not in known and file.is_file() and os.access(file, os.X_OK):
            known.add(file)
            for program in programs_of(file):
                if not is_listed(program, folders):
                    unlisted.setdefault(str(program), f"started by: {_command_line(pid)}")
        try:
            fcntl.ioctl(listener, _SEND, struct.pack("QqiI", number, 0, 0, _CONTINUE))
        except OSError:
            continue
    os.close(ended)
    os.close(listener)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), unlisted


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "a process that is gone"
    return os.fsdecode(b" ".join(words))[:200]


def main() -> int:
    """Run the command, and report what it should not have started."""
    try:
        code, unlisted = watch(sys.argv[1:])
    except CannotSee as error:
        print(f"programs: what the tests start is not checked: {error}", file=sys.stderr)
        if os.environ.get("CI"):
            return 1
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
    for program, starter in sorted(unlisted.items()):
        print(f"programs: a bare machine has no {program}; {starter}", file=sys.stderr)
    if unlisted:
        print("programs: move the test to a tier that .ci/setup prepares", file=sys.stderr)
    return code or int(bool(unlisted))


if __name__ == "__main__":
    sys.exit(main())
