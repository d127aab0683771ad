"""The tokens of one set of credentials: which is handed out, when one is replaced, and who goes.

`obtain` is a flow like the exchange itself, so threads and tasks decide alike and share: of all
who need one token, one has it made, and the others join that flight. Every question (audience and
lifetime) has a holding of its own. Decisions are made under a lock, and no request is.

After a fork the child has the tokens, and neither the parent's lock nor its flights: nobody would
ever land them. So both are looked up by the process' number.
"""

from __future__ import annotations

import os
import threading

from daypass._core.errors import DaypassError
from daypass.client.effects import Join
from daypass.client.errors import ExchangeRefusedError
from daypass.client.exchange import TRIES, exchange
from daypass.client.in_flight import InFlight
from daypass.client.log import again_in, report_refresh
from daypass.client.refresh import (
    backoff_seconds,
    fresh_seconds,
    renewal_delay_seconds,
    requested_delay_seconds,
    retry_delay_seconds,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass.client.config import CredentialsConfig
    from daypass.client.effects import Flow
    from daypass.client.reloading_config import ReloadingConfig
    from daypass.client.shared_cache import SharedTokenCache
    from daypass.client.timing import Timing
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Wire

    Question = tuple[str, int]


_JOIN_SECONDS = 5.0
"""How much longer than an exchange may take one waits for somebody else's."""
_KEPT = 64
"""So many questions are held before those without a usable token are dropped."""


class _KeyState:
    """What is known about one question."""

    __slots__ = ("error", "failed", "failures", "flight", "grant", "not_before", "renewals")

    def __init__(self, grant: CachedToken | None = None) -> None:
        self.grant = grant
        self.flight: InFlight | None = None
        self.failures = 0
        """In a row."""
        self.error: DaypassError | None = None
        self.failed = 0.0
        self.not_before = 0.0
        """When the door was asked in vain, and may be asked again (monotonic)."""
        self.renewals = 0
        """In a row, because servers refused what came."""


class _Process:
    __slots__ = ("holdings", "lock")

    def __init__(self) -> None:
        # Reentrant: a signal's handler may ask for a token while its thread is in here.
        self.lock = threading.RLock()
        self.holdings: dict[Question, _KeyState] = {}


class TokenSource:
    """`shelf`: where other processes find tokens, and put them."""

    __slots__ = ("_processes", "_reading", "_shelf", "_timing", "_wire")

    def __init__(
        self,
        reading: ReloadingConfig,
        timing: Timing,
        *,
        shelf: SharedTokenCache | None = None,
        wire: Wire | None = None,
    ) -> None:
        self._reading = reading
        self._timing = timing
        self._shelf = shelf
        self._wire = wire
        self._processes = {os.getpid(): _Process()}

    def obtain(self, question: Question, refused: Token | None = None) -> Flow[CachedToken]:
        """A grant to hand out, made if need be; another one than `refused`, if that can be."""
        process = self._process()
        while True:
            with process.lock:
                holding = self._holding(process, question)
                step = self._decide(process, holding, question, refused)
                is_mine = isinstance(step, InFlight) and step.claim()
            if not isinstance(step, InFlight):
                return step
            if is_mine:
                tries = TRIES if not holding.failures else 1
                return (yield from self._fly(process, holding, question, step, refused, tries))
            patience = self._timing.exchange_seconds + _JOIN_SECONDS
            if not (yield Join(step, patience)):
                with process.lock:
                    if holding.flight is step:
                        holding.flight = None  # somebody has to; it may land later, unheard
            elif step.error is not None:
                raise _again(step.error)

    def _process(self) -> _Process:
        """This process' lock and holdings; in a child those of the parent, without its flights."""
        pid = os.getpid()
        process = self._processes.get(pid)
        if process is None:
            process = _Process()
            parent = next(reversed(self._processes.values()))
            for question, holding in list(parent.holdings.items()):
                grant = holding.grant
                if grant is not None and grant.quiet_seconds > 0:
                    # Every child has it: each replaces it at a moment of its own.
                    age, chance = grant.age_seconds(self._timing.clock), self._timing.chance()
                    grant.rest(age + retry_delay_seconds(grant.usable_seconds - age, chance))
                process.holdings[question] = _KeyState(grant)
            process = self._processes.setdefault(pid, process)
        return process

    def _holding(self, process: _Process, question: Question) -> _KeyState:
        holding = process.holdings.get(question)
        if holding is None:
            if len(process.holdings) >= _KEPT:
                for other, held in list(process.holdings.items()):
                    if held.flight is None and not _has_usable(held, self._timing.clock):
                        del process.holdings[other]
            holding = process.holdings[question] = _KeyState()
        return holding

    def _decide(
        self, process: _Process, holding: _KeyState, question: Question, refused: Token | None
    ) -> CachedToken | InFlight:
        """A grant to hand out, a flight to join, or a new one to fly. Raises what happened last
        where the door is to be left alone."""
        grant, clock = holding.grant, self._timing.clock
        is_shut = clock.monotonic() < holding.not_before
        if grant is not None and grant.is_usable(clock):
            if refused is None or grant.token.value != refused.value:
                if not grant.is_quiet(clock) and holding.flight is None and not is_shut:
                    self._begin_refresh(process, holding, question, grant)
                return grant
            if grant.age_seconds(clock) < renewal_delay_seconds(holding.renewals):
                return grant
        if holding.flight is not None:
            return holding.flight
        if is_shut and holding.error is not None and not self._reading.has_changed():
            raise again_in(_again(holding.error), holding.failed, holding.not_before, clock)
        holding.flight = InFlight()
        return holding.flight

    def _begin_refresh(
        self, process: _Process, holding: _KeyState, question: Question, grant: CachedToken
    ) -> None:
        flight = holding.flight = InFlight()
        flight.claim()
        flow = self._fly(process, holding, question, flight, None, 1)
        # Until then it goes on being handed out without a thought, and without a second refresh.
        patience = self._timing.exchange_seconds + _JOIN_SECONDS
        grant.rest(grant.age_seconds(self._timing.clock) + patience)
        try:
            self._timing.begin(lambda: self._drive(flow))
        except RuntimeError:  # the interpreter is about to end, or there are too many threads
            holding.flight = None
            flight.land(None)

    def _drive(self, flow: Flow[CachedToken]) -> None:
        from daypass.client.sync import drive

        try:  # noqa: SIM105 - no import of contextlib
            drive(flow, self._timing, self._wire)
        except DaypassError:
            pass  # it is noted, and told to whom it concerns

    def _fly(
        self,
        process: _Process,
        holding: _KeyState,
        question: Question,
        flight: InFlight,
        refused: Token | None,
        tries: int,
    ) -> Flow[CachedToken]:
        problem: DaypassError | None = None
        flight.thread = threading.get_ident()
        try:
            grant = yield from self._made(question, refused, tries)
            with process.lock:
                self._put(holding, grant, is_renewal=refused is not None)
            return grant
        except DaypassError as error:
            problem, left = _again(error), 0.0
            with process.lock:
                if holding.flight is flight:
                    left = self._note(holding, problem)
            if left:  # outside of the lock: a log's handler may want a token itself
                report_refresh(problem, left)
            raise
        finally:
            with process.lock:
                if holding.flight is flight:
                    holding.flight = None
            flight.land(problem)

    def _made(self, question: Question, refused: Token | None, tries: int) -> Flow[CachedToken]:
        """From the shelf, where another process has put one, or by an exchange, and then there."""
        settings = self._settings()
        shelf = self._shelf
        place = None if shelf is None else shelf.place(settings, question, self._timing)
        if place is None:
            return (yield from self._exchanged(settings, question, tries))
        try:
            found = yield from place.wait_for(refused)
            if found is not None:
                return found
            grant = yield from self._exchanged(settings, question, tries)
            self._spread(grant, is_first=True)
            if self._reading.settings is settings and settings.needs is not None:
                place.put(grant, settings.needs)
            return grant
        finally:
            place.leave()

    def _exchanged(
        self, settings: CredentialsConfig, question: Question, tries: int
    ) -> Flow[CachedToken]:
        try:
            return (yield from exchange(settings, question, self._timing, tries))
        except ExchangeRefusedError as error:
            renewed = self._settings(must=True)
            if self._reading.problem is not None:
                raise _again(self._reading.problem) from error
            if renewed.token is None or renewed.token == settings.token:
                raise
        return (yield from exchange(renewed, question, self._timing, tries))

    def _settings(self, *, must: bool = False) -> CredentialsConfig:
        before = self._reading.settings
        if not must and not self._reading.has_changed():
            return before
        after = self._reading.again()
        is_other = _whose(before) != _whose(after)
        if not is_other and before.token == after.token:
            return after
        process = self._process()
        with process.lock:
            for holding in process.holdings.values():
                holding.failures, holding.not_before = 0, 0.0  # another token, another answer
                if holding.grant is not None:
                    # It hangs on the old Secret, which is about to go; or is another's altogether.
                    holding.grant.quiet_seconds = 0.0
                    if is_other:
                        holding.grant.usable_seconds = 0.0
        return after

    def _put(self, holding: _KeyState, grant: CachedToken, *, is_renewal: bool) -> None:
        before = holding.grant
        if before is not None and before.received_monotonic > grant.received_monotonic:
            return  # it was given up, and overtaken
        if grant.quiet_seconds == 0.0:
            self._spread(grant, is_first=before is None or holding.failures > 0)
        if before is not None:
            before.quiet_seconds = 0.0  # whoever has it by heart looks it up again
        holding.grant = grant
        holding.failures, holding.error, holding.not_before = 0, None, 0.0
        holding.renewals = holding.renewals + 1 if is_renewal else 0

    def _note(self, holding: _KeyState, error: DaypassError) -> float:
        """Let the door alone for a while; gives how long there still is a token, in seconds."""
        clock, chance, grant = self._timing.clock, self._timing.chance(), holding.grant
        holding.failures += 1
        holding.error, holding.failed = error, clock.monotonic()
        pause = backoff_seconds(holding.failures, chance)
        asked = getattr(error, "retry_after_seconds", None)
        if asked is not None:
            pause = max(pause, requested_delay_seconds(asked, chance))
        holding.not_before = holding.failed + pause
        if grant is None:
            return 0.0
        age = grant.age_seconds(clock)
        left = max(0.0, grant.usable_seconds - age)
        grant.rest(age + max(pause, retry_delay_seconds(left, chance)))
        return left

    def _spread(self, grant: CachedToken, *, is_first: bool) -> None:
        grant.quiet_seconds = fresh_seconds(
            grant.usable_seconds, self._timing.chance(), is_first=is_first
        )


def _has_usable(holding: _KeyState, clock: Clock) -> bool:
    return holding.grant is not None and holding.grant.is_usable(clock)


def _whose(settings: CredentialsConfig) -> tuple[str, str, str]:
    return settings.door.url, settings.identity.namespace, settings.identity.service_account


def _again(error: DaypassError) -> DaypassError:
    """The same error without a traceback: one instance must not be raised by two threads, and a
    remembered one must not keep the frames of its exchange alive."""
    from copy import copy

    return copy(error)
