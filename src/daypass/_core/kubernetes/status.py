"""What an error response holds, of an API server or of daypass: a Status, and Retry-After."""

from __future__ import annotations

import json

from daypass._core.text import LIMIT_FOREIGN_CHARACTERS, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Status:
    """`v1.Status` (k8s.io/apimachinery/pkg/apis/meta/v1): code, reason, message, and all of it."""

    __slots__ = ("code", "document", "message", "reason")

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        code, reason, message = (document.get(key) for key in ("code", "reason", "message"))
        self.code = code if isinstance(code, int) else 0
        self.reason = reason if isinstance(reason, str) else ""
        message = message if isinstance(message, str) else ""
        self.message = message[: 16 * LIMIT_FOREIGN_CHARACTERS]  # it may name all fields

    def __repr__(self) -> str:
        return f"Status(code={self.code}, reason={self.reason!r}, message={self.message!r})"

    @classmethod
    def parse(cls, body: bytes) -> Status | None:
        """Return the Status in a response body, or None for any other body."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict) or document.get("kind") != "Status":
            return None
        return cls(document)


def failure(code: int | str, reason: str, message: str) -> dict[str, Any]:
    """Return the document of a Status that says why a request failed."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def excerpt(body: bytes) -> str:
    """Return the beginning of a body that is not a Status, printable and on one line."""
    return printable(body[: 4 * LIMIT_FOREIGN_CHARACTERS].decode("utf-8", "replace"))


def parse_retry_after(value: str) -> float | None:
    """Return a Retry-After in seconds (RFC 9110, 10.2.3), or None, for a date too."""
    return float(value) if value.isascii() and value.isdigit() and len(value) < 9 else None
