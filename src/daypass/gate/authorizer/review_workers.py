"""Asks the API server, for an authorizer: so many questions at once as it allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.reasons import Reason
from daypass.gate.authorizer.authorizer import Authorizer
from daypass.gate.authorizer.metrics import AuditEvent, AuditLog
from daypass.gate.authorizer.review_queue import PendingReview
from daypass.gate.authorizer.token_reviews import ReviewFailure
from daypass.gate.decision import Review

TICK_SECONDS = 0.05
PROBE_AFTER_SECONDS = 10.0
NOBODYS_TOKEN = "e30.e30.e30"  # noqa: S105 - `{}` thrice, which no API server takes

Ask: TypeAlias = Callable[[str], Awaitable[Review | ReviewFailure]]


class ReviewWorkers:
    """Runs in one event loop: `start`, then `pump` after each `check`; at the end `stop`.

    It also asks when nobody else does, so that `heard_at` says whether it could.
    """

    def __init__(self, authorizer: Authorizer, ask: Ask, audit: AuditLog, clock: Clock) -> None:
        self._authorizer = authorizer
        self._ask_server = ask
        self._audit = audit
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._probed_at = clock.monotonic()
        self.heard_at: float | None = None
        """When the API server last answered, by the monotonic clock."""
        self.trouble = ""

    async def start(self) -> None:
        """Ask once, to know whether it can; then go on beside."""
        await self._probe()
        self._ticker = asyncio.create_task(self._tick())

    @property
    def is_alive(self) -> bool:
        """Whether it still looks after those who wait."""
        return self._ticker is not None and not self._ticker.done()

    def pump(self) -> None:
        """Ask whatever may be asked now."""
        while (question := self._authorizer.next_question()) is not None:
            self._start(self._ask(question))

    async def stop(self) -> None:
        """End it; whoever waits is told that nobody knows."""
        self._authorizer.end()
        tasks = [*self._tasks, *([] if self._ticker is None else [self._ticker])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, question: PendingReview) -> None:
        said = await self._asked(question.token)
        if isinstance(said, ReviewFailure):
            self._authorizer.unreachable(
                question, said.retry_after_seconds, about_token=said.about_token
            )
        else:
            self._authorizer.reviewed(question, said)
        self.pump()

    async def _asked(self, token: str) -> Review | ReviewFailure:
        began = self._clock.monotonic()
        try:
            said = await self._ask_server(token)
        except DaypassError as error:
            said = ReviewFailure(why=str(error))
        except Exception as error:  # whatever it is: who waits for this has to be answered
            said = ReviewFailure(why=f"the API server could not be asked ({type(error).__name__})")
        now = self._clock.monotonic()
        is_answered = isinstance(said, Review)
        self._authorizer.metrics.reviewed(now - began, is_answered=is_answered)
        if isinstance(said, Review):
            self._take_note("", now)
        elif not said.about_token:  # whoever sends tokens cannot make it look down
            self._take_note(said.why, now)
        return said

    def _take_note(self, trouble: str, now: float) -> None:
        if not trouble:
            self.heard_at = now
        if bool(trouble) != bool(self.trouble):
            event = AuditEvent.UNREACHABLE if trouble else AuditEvent.REACHED
            self._audit.tell(event, Reason.UNKNOWN if trouble else Reason.ALLOWED)
        self.trouble = trouble

    async def _probe(self) -> None:
        self._probed_at = self._clock.monotonic()
        await self._asked(NOBODYS_TOKEN)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._authorizer.tick()
            self.pump()
            now = self._clock.monotonic()
            if now - max(self.heard_at or 0.0, self._probed_at) > PROBE_AFTER_SECONDS:
                self._probed_at = now
                self._start(self._probe())
