"""Other programs, run with a deadline."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from subprocess import Popen

    from daypass._core.clock import Clock

_STDERR_BYTES = 1024


class ProgramError(Exception):
    """A program gave no output. `reason` goes on after its name: `exited with 1`.

    `stderr` is the end of what it wrote there, unless that went to our own. It may hold secrets.
    """

    def __init__(self, reason: str, stderr: bytes = b"", *, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stderr = stderr
        self.is_missing = is_missing


def run_program(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    limit_bytes: int,
    clock: Clock,
    environment: Mapping[str, str] | None = None,
    attached: bool = False,
    interactive: bool = False,
) -> bytes:
    """Return what a program prints on stdout. Raises ProgramError.

    It is killed when it takes too long or prints more than `limit_bytes`, and whenever this
    function is interrupted. It runs in a session of its own, and its children are killed with it.
    `attached`: it stays in our session and writes to our stderr; `interactive`: it may read our
    stdin, too.
    """
    import os
    import signal
    import subprocess

    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if attached else subprocess.PIPE,
            start_new_session=not attached,
        )
    except FileNotFoundError as error:
        reason = f"cannot be started: {error.strerror}"
        raise ProgramError(reason, is_missing=True) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its command line is not valid"
        raise ProgramError(f"cannot be started: {reason}") from None
    deadline = clock.monotonic() + timeout_seconds
    try:
        stdout, stderr = _read(process, deadline, limit_bytes, clock)
        code = process.wait(max(0.0, deadline - clock.monotonic()))
    except subprocess.TimeoutExpired:
        raise ProgramError("took too long") from None
    finally:
        if process.returncode is None:
            if attached:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if code:
        raise ProgramError(f"exited with {code}", stderr)
    return stdout


def _read(
    process: Popen[bytes], deadline: float, limit_bytes: int, clock: Clock
) -> tuple[bytes, bytes]:
    """Read both pipes to their end. Raises ProgramError."""
    import os
    import selectors

    stdout, stderr = b"", b""
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - clock.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise ProgramError("took too long", stderr)
            for key, _ in ready:
                data = os.read(key.fd, 65_536)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    stdout += data
                else:
                    stderr = (stderr + data)[-_STDERR_BYTES:]
            if len(stdout) > limit_bytes:
                raise ProgramError(f"printed more than {limit_bytes} bytes")
    return stdout, stderr
