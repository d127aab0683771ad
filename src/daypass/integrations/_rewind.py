"""Whether a body can be sent a second time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def rewinder(body: object) -> Callable[[], object] | None:
    """What to call to begin a body anew, from where it is now; None for what is gone once sent."""
    if body is None or isinstance(body, bytes | bytearray | memoryview | str):
        return lambda: None
    try:
        position = body.tell()  # type: ignore[attr-defined]
        if not body.seekable():  # type: ignore[attr-defined]
            return None
    except (AttributeError, OSError):
        return None
    return lambda: body.seek(position)  # type: ignore[attr-defined]
