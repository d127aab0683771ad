"""Renews one token file: requests a token, writes it, runs the hooks, and schedules the next time.

The schedule (`Schedule`, `renewed`, `failed`) is pure. Its delays are the client's, so that a fleet
of agents is spread like a fleet of clients. In addition an agent never gives up: failures that only
a person can fix, such as a refused identity, are retried every few minutes.
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
from daypass.client.exchange import exchange
from daypass.client.token import (
    CachedToken,
    Token,
    backoff_seconds,
    fresh_seconds,
    requested_delay_seconds,
    retry_delay_seconds,
)
from daypass.client.transport import Timing

SHORTEST_PAUSE_SECONDS = 1.0
"""A file is not renewed more often than this, however short its tokens live."""
LONGEST_PERMANENT_PAUSE_SECONDS = 300.0
"""Between attempts after an error that only a person can fix, such as a 401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in time on both clocks, in seconds.

    The monotonic clock may stop while a machine sleeps; the other one may be set.
    """

    unix: float
    monotonic: float

    @classmethod
    def now(cls, clock: Clock) -> "Moment":
        """Return the current time."""
        return cls(unix=clock.unix(), monotonic=clock.monotonic())

    def since(self, earlier: "Moment") -> float:
        """Return the seconds since `earlier`, by the clock that counted more."""
        return max(self.unix - earlier.unix, self.monotonic - earlier.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The token in the file: when it was requested, and how long it may be used."""

    asked: Moment
    life_seconds: float

    def left_seconds(self, now: Moment) -> float:
        """Return how long it may still be used; negative after that."""
        return self.life_seconds - now.since(self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The state of one file: the next attempt is `pause_seconds` after `since`."""

    since: Moment
    pause_seconds: float
    failures: int = 0
    held: Held | None = None

    def wait_seconds(self, now: Moment) -> float:
        """Return how long to wait before the next attempt; 0 if it is due."""
        return max(0.0, self.pause_seconds - now.since(self.since))

    def is_good(self, now: Moment) -> bool:
        """Return whether the token in the file may be used."""
        return self.held is not None and self.held.left_seconds(now) > 0


def begin(now: Moment, *, stagger_seconds: float, chance: float) -> Schedule:
    """Return the schedule of a file that this agent has not written yet. `chance`: 0 up to 1."""
    return Schedule(since=now, pause_seconds=stagger_seconds * chance)


def renewed(before: Schedule, asked: Moment, *, usable_seconds: float, chance: float) -> Schedule:
    """Return the schedule after a renewal with a token that may be used for `usable_seconds`."""
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
    """Return the schedule after a failed attempt."""
    failures = before.failures + 1
    left = 0.0 if before.held is None else max(0.0, before.held.left_seconds(now))
    pause = max(backoff_seconds(failures, chance), retry_delay_seconds(left, chance))
    if not heals_by_itself:
        permanent = 5.0 * 2.0 ** min(failures, 10)
        pause = max(pause, min(LONGEST_PERMANENT_PAUSE_SECONDS, permanent) * (0.5 + 0.5 * chance))
    if retry_after_seconds is not None:
        pause = max(pause, requested_delay_seconds(retry_after_seconds, chance))
    return Schedule(since=now, pause_seconds=pause, failures=failures, held=before.held)


RequestToken = Callable[[str | None, int | None], CachedToken]
"""Returns a new token for an audience and a lifetime. Raises the errors of `client.errors`."""


class TokenRequester:
    """Requests tokens with the credentials in `path` or `environ`, read again for each request.

    `variables` are all environment variables that ever led to a long-lived token. They grow only:
    after a rotation to a file, the old token in a variable may still be valid.
    """

    def __init__(self, environ: Mapping[str, str], path: str | None, timing: Timing) -> None:
        self._environ = environ
        self._path = path
        self._timing = timing
        self.variables: tuple[str, ...] = ()

    def request(self, audience: str | None, lifetime_seconds: int | None) -> CachedToken:
        """Exchange for a new token. Raises the errors of `client.errors`."""
        settings = self._read()
        return exchange(settings, settings.key(audience, lifetime_seconds), self._timing)

    def identity(self) -> object:
        """Return a value that changes with the credentials; None if they can't be read now."""
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
"""Check the clock this often: a machine does not report that it was asleep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewerStatus:
    """The state of a file for probes and metrics. `left_seconds` None: not written yet."""

    path: str
    is_good: bool
    left_seconds: float | None
    renewals: int
    failures: int
    hook_failures: int


class FileRenewer:
    """Keeps one file fresh. `renew` makes one attempt; `run` repeats it until `stop`.

    `renewed` is called after each renewal. `variables` returns those that hooks must not get. Only
    the thread of `run` changes state; other threads read it with `status`.
    """

    def __init__(
        self,
        target: TokenFile,
        request: RequestToken,
        log: AgentLog,
        timing: Timing,
        *,
        stagger_seconds: int = 0,
        renewed: Callable[[], None] = lambda: None,
        variables: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self.target = target
        self._request = request
        self._log = log
        self._timing = timing
        self._renewed = renewed
        self._variables = variables
        self._wake = threading.Event()
        self._stopped = self._hurry = self._expiry_reported = False
        self._renewals = self._failures = self._hook_failures = 0
        self._schedule = begin(self._now(), stagger_seconds=stagger_seconds, chance=timing.chance())

    def run(self) -> None:
        """Renew the file when it is due, until `stop`."""
        while not self._stopped:
            wait = 0.0 if self._hurry else self._schedule.wait_seconds(self._now())
            if wait > 0:
                self._wake.wait(min(wait, LONGEST_SLEEP_SECONDS))
                self._wake.clear()
            else:
                self._hurry = False  # before renewing, so that a request meanwhile counts
                self.renew()

    def stop(self) -> None:
        """Make `run` return after the renewal in progress."""
        self._stopped = True
        self._wake.set()

    def renew_now(self) -> None:
        """Make `run` renew the file without waiting until it is due."""
        self._hurry = True
        self._wake.set()

    def status(self) -> RenewerStatus:
        """Return the state of the file."""
        now, held = self._now(), self._schedule.held
        return RenewerStatus(
            path=self.target.path,
            is_good=self._schedule.is_good(now),
            left_seconds=None if held is None else held.left_seconds(now),
            renewals=self._renewals,
            failures=self._failures,
            hook_failures=self._hook_failures,
        )

    def report_expiry(self) -> None:
        """Log once that the token in the file has expired."""
        status = self.status()
        if status.left_seconds is None or status.is_good or self._expiry_reported:
            return
        self._expiry_reported = True
        self._log.write(
            AgentEvent.TOKEN_ENDED,
            f"the token in {self.target.path} has expired and could not be renewed",
            path=self.target.path,
        )

    def renew(self) -> bool:
        """Make one attempt and run the hooks; return whether all of it succeeded."""
        try:
            token = self.attempt()
        except Exception as error:
            self._note_failure(error)
            return False
        return self._run_hooks(token.value)

    def attempt(self) -> Token:
        """Make one attempt; return the token now in the file. Raises DaypassError, OSError."""
        asked = self._now()
        grant = self._request(self.target.audience, self.target.lifetime_seconds)
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
        self._expiry_reported = False
        self._renewed()
        ends = rfc3339(grant.token.expires_at)
        self._log.write(
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
        self._log.write(
            AgentEvent.RENEWAL_FAILED,
            f"{self.target.path} was not renewed: {explain(error)}",
            path=self.target.path,
            error=type(error).__name__,
            failures=self._schedule.failures,
            again_in_seconds=round(self._schedule.pause_seconds),
        )

    def _run_hooks(self, token: Secret) -> bool:
        succeeded = True
        for number, hook in enumerate(self.target.hooks, 1):
            try:
                run_hook(hook, self.target.path, token, self._variables(), self._timing.clock)
            except Exception as error:
                succeeded = False
                self._hook_failures += 1
                reason = explain(error)
                self._log.write(
                    AgentEvent.HOOK_FAILED,
                    f"{self.target.path} was renewed, and on_renewal {number} failed: {reason}",
                    path=self.target.path,
                    hook=number,
                )
        return succeeded

    def _now(self) -> Moment:
        return Moment.now(self._timing.clock)


def content(form: str, token: Token) -> bytes:
    """Return a file's content. The format `token` has no newline, as in a mounted volume."""
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
    """Return an error on one line. Of an unexpected error only its class: it may quote anything."""
    if isinstance(error, DaypassError):
        return str(error).replace("\n", "; ")
    if isinstance(error, OSError):
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        return f"{where}{error.strerror}"
    return f"unexpected {type(error).__name__} (this is a bug in daypass)"
