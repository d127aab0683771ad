"""Where the list of the revoked goes, and where what was known is kept between two runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from daypass._core.errors import DaypassError
from daypass._core.files import UnsafeFileError, read_private, write_private
from daypass.render.envoy.revocation import Revoked

LIMIT_BYTES = 256 * 1024 * 1024


WITHOUT_RECORD = "Tokens issued before that are then refused; clients get new ones by themselves"
"""What happens after a damaged record was removed."""


class RecordError(DaypassError):
    """What was kept of an earlier run cannot be read."""


class Publisher(Protocol):
    """Enforces the list. Both methods raise OSError where that fails for now.

    `is_first_start`: the API server is new too, so that no token was revoked before.
    """

    is_first_start: bool

    def publish(self, revoked: Revoked) -> None:
        """Put the list in force."""

    def keep(self, record: dict[str, Any]) -> None:
        """Keep what was known, for the next run."""

    def kept(self) -> dict[str, Any] | None:
        """What was kept, or None where nothing was. Raises RecordError."""


class OnThisMachine:
    """An Envoy of our own, through `take`, and a file (mode 0600), or None to remember nothing."""

    def __init__(
        self, take: Callable[[Revoked], None], file: Path | None, *, is_first_start: bool
    ) -> None:
        self.is_first_start = is_first_start or file is None
        self._take = take
        self._file = file

    def publish(self, revoked: Revoked) -> None:
        """Put the list in force."""
        self._take(revoked)

    def keep(self, record: dict[str, Any]) -> None:
        """Keep what was known."""
        if self._file is not None:
            write_private(str(self._file), json.dumps(record).encode())

    def kept(self) -> dict[str, Any] | None:
        """What was kept. Raises RecordError."""
        return None if self._file is None else read_record(self._file)


def read_record(file: Path) -> dict[str, Any] | None:
    """The record in a file, or None where there is none. Raises RecordError."""
    try:
        record = json.loads(read_private(str(file), limit_bytes=LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, UnsafeFileError) as error:
        raise RecordError(
            f"{file}, which says what was revoked, cannot be read: {error}",
            f"remove it, and start again. {WITHOUT_RECORD}",
        ) from None
    return record if isinstance(record, dict) else {}
