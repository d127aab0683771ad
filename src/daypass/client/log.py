"""What the library says about failures that nobody is waiting for, or that are remembered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass._core.errors import DaypassError


def report_refresh(error: DaypassError, left_seconds: float) -> None:
    """A refresh failed while the token before is still handed out: to the logger `daypass`."""
    _log(f"a token could not be refreshed; the one before lasts {left_seconds:.0f} s more", error)


def report_shelf(error: DaypassError) -> None:
    """A shared token is not used or not kept."""
    _log("tokens are not shared", error)


def again_in(error: DaypassError, failed: float, not_before: float, clock: Clock) -> DaypassError:
    """A remembered error, with when it happened and when the door is asked again."""
    now = clock.monotonic()
    when = f"that was {now - failed:.0f} s ago; the next attempt is in {not_before - now:.0f} s"
    error.hint = f"{error.hint}\n{when}" if error.hint else when
    error.args = (error.fact, error.hint)
    return error


def _log(what: str, error: DaypassError) -> None:
    import logging

    logger = logging.getLogger("daypass")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # silent unless the program wants to know
    logger.warning("%s: %s", what, error)
