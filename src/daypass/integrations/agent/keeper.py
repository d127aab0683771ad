"""One token file: asks, places, tells, counts; over and over on a thread of its own."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass._core.secret import Secret
from daypass.client.times import rfc3339
from daypass.client.timing import Timing
from daypass.client.token import Grant, Token
from daypass.integrations.agent import schedule
from daypass.integrations.agent.asking import Ask
from daypass.integrations.agent.config import TokenFile
from daypass.integrations.agent.events import Event, Log
from daypass.integrations.agent.hooks import run_hook
from daypass.integrations.agent.placing import place
from daypass.integrations.agent.schedule import Moment

LONGEST_SLEEP_SECONDS = 30.0
"""A machine that was asleep does not tell: look at the clock so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a file is doing. `left_seconds` None: nothing was put into it yet."""

    path: str
    is_good: bool
    left_seconds: float | None
    renewals: int
    failures: int
    hook_failures: int


class Keeper:
    """Keeps one file. `renew` is one attempt; `run` goes on until `stop`.

    `renewed` is called after each renewal. `variables` are those that hooks do
    not get. What changes is written by the thread of `run` alone;
    the others' `status` reads it.
    """

    def __init__(
        self,
        target: TokenFile,
        ask: Ask,
        log: Log,
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
        self._schedule = schedule.begin(
            self._now(), stagger_seconds=stagger_seconds, chance=timing.chance()
        )

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

    def status(self) -> Status:
        """How the file is doing."""
        now, held = self._now(), self._schedule.held
        return Status(
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
            Event.TOKEN_ENDED,
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
        place(self.target, content(self.target.format, grant.token))
        self._note_renewal(asked, grant)
        return grant.token

    def _note_renewal(self, asked: Moment, grant: Grant) -> None:
        self._schedule = schedule.renewed(
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
            Event.RENEWED,
            "; ".join((f"{self.target.path} is good until {ends}", *grant.token.warnings)),
            path=self.target.path,
            expires_at=ends,
        )

    def _note_failure(self, error: Exception) -> None:
        self._schedule = schedule.failed(
            self._schedule,
            self._now(),
            heals_by_itself=getattr(error, "heals_by_itself", True),
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
            chance=self._timing.chance(),
        )
        self._failures += 1
        self._log.tell(
            Event.RENEWAL_FAILED,
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
                    Event.HOOK_FAILED,
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
