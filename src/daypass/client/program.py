"""A program whose output is a token: bounded in time and length, and nothing of it is shown."""

from __future__ import annotations

from daypass._core.redact import redact
from daypass._core.text import printable
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

    from daypass._core.clock import Clock

LIMIT_BYTES = 64 * 1024


class ProgramError(Exception):
    """Why there is no output. `words` is the end of its stderr, for `explain_program` alone."""

    def __init__(self, reason: str, words: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words


def explain_program(error: ProgramError, name: str) -> CredentialsError:
    """The error for a person. What looks like a token in the program's words is starred out."""
    said = printable(redact(error.words.decode("utf-8", "replace")))
    return CredentialsError(
        f"the program {name!r} gives no token: {error.reason}",
        f"it says: {said}" if said else "run it by hand: a token, and nothing else, on stdout",
    )


def run(command: tuple[str, ...], timeout_seconds: float, clock: Clock) -> bytes:
    """What the program prints; raises ProgramError. It and its children are killed when they take
    too long, and whenever this ends before they do."""
    import os
    import signal
    import subprocess

    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name is possible"
        raise ProgramError(f"it can't be started: {reason}") from None
    try:
        out, words = _read(process, clock.monotonic() + timeout_seconds, clock)
        code = process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if code:
        raise ProgramError(f"it ends with {code}", words)
    return out


def _read(process: Popen[bytes], ends: float, clock: Clock) -> tuple[bytes, bytes]:
    import os
    import selectors

    out, words = b"", b""
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left = ends - clock.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise ProgramError("it takes too long", words)
            for key, _ in ready:
                data = os.read(key.fd, 4096)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    out += data
                else:
                    words = (words + data)[-1024:]
            if len(out) > LIMIT_BYTES:
                raise ProgramError(f"it prints more than {LIMIT_BYTES} bytes")
    return out, words
