"""A program whose output is a token: bounded in time and length, and nothing of it is shown."""

from __future__ import annotations

from daypass._core.process import ProgramError, run_program
from daypass._core.redact import redact
from daypass._core.text import printable
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.clock import Clock

LIMIT_BYTES = 64 * 1024


def run(command: tuple[str, ...], timeout_seconds: float, clock: Clock) -> bytes:
    """Return what the program prints; raises ProgramError."""
    return run_program(
        command, timeout_seconds=timeout_seconds, limit_bytes=LIMIT_BYTES, clock=clock
    )


def explain_program(error: ProgramError, name: str) -> CredentialsError:
    """The error for a person. What looks like a token in the program's stderr is starred out."""
    stderr = printable(redact(error.stderr.decode("utf-8", "replace")))
    return CredentialsError(
        f"the program {name!r} gives no token: it {error.reason}",
        f"it says: {stderr}" if stderr else "run it by hand: a token, and nothing else, on stdout",
    )
