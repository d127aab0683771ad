"""When a token file is due: decided from what is known of it, with no clock and no I/O of its own.

The seconds are those of the library (`client.token`), so that a fleet of agents is spread as a
fleet of programs is. An agent adds that it never gives up: what only a person can mend, such as a
refused identity, is tried every few minutes.

New tokens with credentials that are read again each time, so that a rotated identity is used as
soon as its file is replaced.

One token file: asks, places, tells, counts; over and over on a thread of its own.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.secret import Secret
from daypass._core.timestamps import rfc3339
from daypass.agent.atomic_write import write_atomically
from daypass.agent.config import TokenFile
from daypass.agent.hooks import run_hook
from daypass.agent.log import AgentEvent, AgentLog
from daypass.client.config import CredentialsConfig, parse_source, read_source
from daypass.client.exchange import Timing, exchange
from daypass.client.token import (
    CachedToken,
    Token,
    backoff_seconds,
    fresh_seconds,
    requested_delay_seconds,
    retry_delay_seconds,
)

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
    quiet = fresh_seconds(usable_seconds, chance, is_first=is_first)
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
    pause = max(backoff_seconds(failures, chance), retry_delay_seconds(left, chance))
    if not heals_by_itself:
        hopeless = 5.0 * 2.0 ** min(failures, 10)
        pause = max(pause, min(LONGEST_HOPELESS_PAUSE_SECONDS, hopeless) * (0.5 + 0.5 * chance))
    if retry_after_seconds is not None:
        pause = max(pause, requested_delay_seconds(retry_after_seconds, chance))
    return Schedule(since=now, pause_seconds=pause, failures=failures, held=before.held)


Ask = Callable[[str | None, int | None], CachedToken]
"""A new token for an audience and a lifetime; raises the errors of `daypass.client.errors`."""


class TokenRequester:
    """Credentials where they stand: in the file `path`, or where `environ` says.

    `variables`: of the environment, that led to a long-lived token whenever this was read: after a
    rotation to a file, the old one may still be good.
    """

    def __init__(self, environ: Mapping[str, str], path: str | None, timing: Timing) -> None:
        self._environ = environ
        self._path = path
        self._timing = timing
        self.variables: tuple[str, ...] = ()

    def ask(self, audience: str | None, lifetime_seconds: int | None) -> CachedToken:
        """A new token, as `Ask` says."""
        settings = self._read()
        return exchange(settings, settings.key(audience, lifetime_seconds), self._timing)

    def identity(self) -> object:
        """All of the credentials, to be compared; None where they cannot be read just now."""
        try:
            settings = self._read()
        except DaypassError:
            return None
        return settings.source and settings.source.identity(), settings.token

    def _read(self) -> CredentialsConfig:
        source = read_source(self._environ, self._path)
        settings = parse_source(source, self._timing.clock.unix(), self._environ)
        self.variables = tuple(dict.fromkeys((*self.variables, *settings.variables)))
        return settings


LONGEST_SLEEP_SECONDS = 30.0
"""A machine that was asleep does not tell: look at the clock so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewerStatus:
    """How a file is doing. `left_seconds` None: nothing was put into it yet."""

    path: str
    is_good: bool
    left_seconds: float | None
    renewals: int
    failures: int
    hook_failures: int


class FileRenewer:
    """Keeps one file. `renew` is one attempt; `run` goes on until `stop`.

    `renewed` is called after each renewal. `variables` are those that hooks do
    not get. What changes is written by the thread of `run` alone;
    the others' `status` reads it.
    """

    def __init__(
        self,
        target: TokenFile,
        ask: Ask,
        log: AgentLog,
        timing: Timing,
        *,
        stagger_seconds: int = 0,
        renewed: Callable[[], None] = lambda: None,
        variables: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self.target = target
        self._ask = ask
        self._log = log
        self._timing = timing
        self._renewed = renewed
        self._variables = variables
        self._wake = threading.Event()
        self._stopped = self._hurry = self._told_end = False
        self._renewals = self._failures = self._hook_failures = 0
        self._schedule = begin(self._now(), stagger_seconds=stagger_seconds, chance=timing.chance())

    def run(self) -> None:
        """Keep the file until `stop`."""
        while not self._stopped:
            wait = 0.0 if self._hurry else self._schedule.wait_seconds(self._now())
            if wait > 0:
                self._wake.wait(min(wait, LONGEST_SLEEP_SECONDS))
                self._wake.clear()
            else:
                self._hurry = False  # before it: who asks again meanwhile is heard
                self.renew()

    def stop(self) -> None:
        """Let `run` end; what is under way is finished first."""
        self._stopped = True
        self._wake.set()

    def renew_now(self) -> None:
        """Do not wait until the file is due."""
        self._hurry = True
        self._wake.set()

    def status(self) -> RenewerStatus:
        """How the file is doing."""
        now, held = self._now(), self._schedule.held
        return RenewerStatus(
            path=self.target.path,
            is_good=self._schedule.is_good(now),
            left_seconds=None if held is None else held.left_seconds(now),
            renewals=self._renewals,
            failures=self._failures,
            hook_failures=self._hook_failures,
        )

    def tell_end(self) -> None:
        """Log, once, that the token in the file has ended."""
        status = self.status()
        if status.left_seconds is None or status.is_good or self._told_end:
            return
        self._told_end = True
        self._log.tell(
            AgentEvent.TOKEN_ENDED,
            f"the token in {self.target.path} has ended, and no new one came",
            path=self.target.path,
        )

    def renew(self) -> bool:
        """One attempt and, if a token came, its hooks; whether all of it went well."""
        try:
            token = self.attempt()
        except Exception as error:
            self._note_failure(error)
            return False
        return self._tell_others(token.value)

    def attempt(self) -> Token:
        """One attempt; the token that is in the file now. Raises what stood in its way:
        DaypassError, OSError."""
        asked = self._now()
        grant = self._ask(self.target.audience, self.target.lifetime_seconds)
        write_atomically(self.target, content(self.target.format, grant.token))
        self._note_renewal(asked, grant)
        return grant.token

    def _note_renewal(self, asked: Moment, grant: CachedToken) -> None:
        self._schedule = renewed(
            self._schedule,
            asked,
            usable_seconds=grant.usable_seconds,
            chance=self._timing.chance(),
        )
        self._renewals += 1
        self._told_end = False
        self._renewed()
        ends = rfc3339(grant.token.expires_at)
        self._log.tell(
            AgentEvent.RENEWED,
            "; ".join((f"{self.target.path} is good until {ends}", *grant.token.warnings)),
            path=self.target.path,
            expires_at=ends,
        )

    def _note_failure(self, error: Exception) -> None:
        self._schedule = failed(
            self._schedule,
            self._now(),
            heals_by_itself=getattr(error, "heals_by_itself", True),
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
            chance=self._timing.chance(),
        )
        self._failures += 1
        self._log.tell(
            AgentEvent.RENEWAL_FAILED,
            f"{self.target.path} was not renewed: {explain(error)}",
            path=self.target.path,
            error=type(error).__name__,
            failures=self._schedule.failures,
            again_in_seconds=round(self._schedule.pause_seconds),
        )

    def _tell_others(self, token: Secret) -> bool:
        told = True
        for number, hook in enumerate(self.target.hooks, 1):
            try:
                run_hook(hook, self.target.path, token, self._variables(), self._timing.clock)
            except Exception as error:
                told = False
                self._hook_failures += 1
                reason = explain(error)
                self._log.tell(
                    AgentEvent.HOOK_FAILED,
                    f"{self.target.path} was renewed, and on_renewal {number} failed: {reason}",
                    path=self.target.path,
                    hook=number,
                )
        return told

    def _now(self) -> Moment:
        return Moment.now(self._timing.clock)


def content(form: str, token: Token) -> bytes:
    """What a file of this format holds; `token` has no line end, as what the kubelet mounts."""
    value = token.value.reveal()
    if form == "header":
        return f"Authorization: Bearer {value}\n".encode()
    if form == "json":
        document = {
            "token": value,
            "expiresAt": rfc3339(token.expires_at),
            "audiences": token.audiences,
        }
        return json.dumps(document).encode() + b"\n"
    return value.encode()


def explain(error: Exception) -> str:
    """An error on one line; of one that nobody foresaw only its kind: it may quote anything."""
    if isinstance(error, DaypassError):
        return str(error).replace("\n", "; ")
    if isinstance(error, OSError):
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        return f"{where}{error.strerror}"
    return f"an unexpected {type(error).__name__}, which is a bug of daypass'"
