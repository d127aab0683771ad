"""When a token file is due: decided from what is known of it, with no clock and no I/O of its own.

The seconds are those of the library (`client.refresh`), so that a fleet of agents is spread as a
fleet of programs is. An agent adds that it never gives up: what only a person can mend, such as a
refused identity, is tried every few minutes.
"""

from dataclasses import dataclass

from daypass._core.clock import Clock
from daypass.client import refresh

SHORTEST_PAUSE_SECONDS = 1.0
"""Whatever a server grants, a file is not renewed more often than so."""
LONGEST_HOPELESS_PAUSE_SECONDS = 300.0
"""Between attempts where nothing changes unless somebody acts, such as after a 401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment on both clocks of a machine, in seconds.

    The monotonic one may stand still while a machine sleeps, the other one may be set.
    """

    unix: float
    monotonic: float

    @classmethod
    def now(cls, clock: Clock) -> "Moment":
        """This moment."""
        return cls(unix=clock.unix(), monotonic=clock.monotonic())

    def since(self, earlier: "Moment") -> float:
        """Seconds since then by the clock that saw more of them."""
        return max(self.unix - earlier.unix, self.monotonic - earlier.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The token that is in the file: when it was asked for, and for how long it is good."""

    asked: Moment
    life_seconds: float

    def left_seconds(self, now: Moment) -> float:
        """How much of its life is left; less than nothing after its end."""
        return self.life_seconds - now.since(self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is known of one file: the next attempt is `pause_seconds` after `since`."""

    since: Moment
    pause_seconds: float
    failures: int = 0
    held: Held | None = None

    def wait_seconds(self, now: Moment) -> float:
        """How long to wait before the next attempt; 0 when it is due."""
        return max(0.0, self.pause_seconds - now.since(self.since))

    def is_good(self, now: Moment) -> bool:
        """Whether the file holds a token that has not ended."""
        return self.held is not None and self.held.left_seconds(now) > 0


def begin(now: Moment, *, stagger_seconds: float, chance: float) -> Schedule:
    """A file that this agent has put nothing into yet. `chance`: from 0 up to 1."""
    return Schedule(since=now, pause_seconds=stagger_seconds * chance)


def renewed(before: Schedule, asked: Moment, *, usable_seconds: float, chance: float) -> Schedule:
    """After a token came that is good for `usable_seconds`."""
    is_first = before.held is None or before.failures > 0
    quiet = refresh.quiet_seconds(usable_seconds, chance, is_first=is_first)
    held = Held(asked=asked, life_seconds=usable_seconds)
    return Schedule(since=asked, pause_seconds=max(SHORTEST_PAUSE_SECONDS, quiet), held=held)


def failed(
    before: Schedule,
    now: Moment,
    *,
    heals_by_itself: bool,
    retry_after_seconds: float | None,
    chance: float,
) -> Schedule:
    """After an attempt failed."""
    failures = before.failures + 1
    left = 0.0 if before.held is None else max(0.0, before.held.left_seconds(now))
    pause = max(refresh.backoff_seconds(failures, chance), refresh.respite_seconds(left, chance))
    if not heals_by_itself:
        hopeless = 5.0 * 2.0 ** min(failures, 10)
        pause = max(pause, min(LONGEST_HOPELESS_PAUSE_SECONDS, hopeless) * (0.5 + 0.5 * chance))
    if retry_after_seconds is not None:
        pause = max(pause, refresh.asked_pause_seconds(retry_after_seconds, chance))
    return Schedule(since=now, pause_seconds=pause, failures=failures, held=before.held)
