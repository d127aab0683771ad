"""Another program, run with a deadline."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from subprocess import Popen

    from daypass._core.clock import Clock


class ProgramError(Exception):
    """A program gave no output. `reason` goes on after its name: `exited with 1`."""

    def __init__(self, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_missing = is_missing


def run_program(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    limit_bytes: int,
    clock: Clock,
    environment: Mapping[str, str],
    interactive: bool,
) -> bytes:
    """Return what a program prints on stdout; its stderr is ours. Raises ProgramError.

    It is killed when it takes too long or prints more than `limit_bytes`, and whenever this
    function is interrupted. `interactive`: it may read our stdin.
    """
    import subprocess

    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        reason = f"cannot be started: {error.strerror}"
        raise ProgramError(reason, is_missing=True) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its command line is not valid"
        raise ProgramError(f"cannot be started: {reason}") from None
    deadline = clock.monotonic() + timeout_seconds
    try:
        output = _read(process, deadline, limit_bytes, clock)
        code = process.wait(max(0.0, deadline - clock.monotonic()))
    except subprocess.TimeoutExpired:
        raise ProgramError("took too long") from None
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if code:
        raise ProgramError(f"exited with {code}")
    return output


def _read(process: Popen[bytes], deadline: float, limit_bytes: int, clock: Clock) -> bytes:
    """Read stdout to its end. Raises ProgramError."""
    import os
    import select

    assert process.stdout is not None  # noqa: S101 - a pipe
    output, ready = b"", select.poll()
    ready.register(process.stdout, select.POLLIN)
    while True:
        left = max(0.0, deadline - clock.monotonic())
        if not ready.poll(left * 1000):
            raise ProgramError("took too long")
        data = os.read(process.stdout.fileno(), 65_536)
        output += data
        if not data:
            return output
        if len(output) > limit_bytes:
            raise ProgramError(f"printed more than {limit_bytes} bytes")
