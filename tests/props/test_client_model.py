"""Many callers, a door that fails, and clocks that jump, against an oracle that knows the truth.

A caller is a thread that runs only when the model lets it, from one wait to the next: a request, a
pause, or the exchange of another caller. So every interleaving of threads is one of these runs, and
each of them is the same every time. Two token sources stand for two processes; in half of the runs
they share a cache, with real files and real locks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daypass._core.errors import DaypassError
from daypass.client.config import ReloadingConfig
from daypass.client.http1 import HttpRequest, HttpResponse
from daypass.client.key_state import InFlight
from daypass.client.shared_cache import CacheWarning, SharedTokenCache
from daypass.client.token import CachedToken, Token
from daypass.client.token_source import TokenSource
from daypass.client.transport import ANSWER, CONNECT, Deadline, Route, TransportError
from support.exchanges import credentials_config, response
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    answer,
    status_answer,
    token_answer,
)
from support.timing import NOON, FakeClock, FakeTiming

QUESTIONS = ((AUDIENCE, 3600), (AUDIENCE, 600))
FAULTS = (
    answer(503),
    status_answer(429, "slow down", "Retry-After: 40"),
    status_answer(401, "Unauthorized"),
    answer(200, "<html>Sign in</html>", content_type="text/html"),
    ConnectionRefusedError(),
    ConnectionResetError(),
)


class Sending:
    """A request that waits for its response."""

    def __init__(self, route: Route, deadline: Deadline) -> None:
        self.route = route
        self.timeout_seconds = deadline.seconds_left()


class Pausing:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Joining:
    def __init__(self, in_flight: InFlight) -> None:
        self.in_flight = in_flight


class Interrupted(BaseException):
    """What a caller that is interrupted raises."""


class Caller:
    """A thread that runs from one wait to the next, when `resume` is called."""

    current = threading.local()

    def __init__(
        self, work: Callable[[], CachedToken], process: int, question: int, began: float
    ) -> None:
        self.process = process
        self.question = question
        self.began = began
        self.waits_for: Sending | Pausing | Joining | None = None
        self.since = 0.0
        self.refused: Token | None = None
        self.outcome: CachedToken | BaseException | None = None
        self._work = work
        self._reply: Any = None
        self._may_run, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def resume(self, reply: object) -> None:
        """Let it go on with this reply until it has to wait again, or until it has an outcome."""
        self._reply = reply
        self._may_run.release()
        assert self._stopped.acquire(timeout=60), "a caller blocks where it must not"
        if self.outcome is not None:
            self._thread.join()

    @classmethod
    def wait_for(cls, what: Sending | Pausing | Joining) -> Any:
        """Stop the calling thread until the model replies."""
        caller: Caller = cls.current.caller
        caller.waits_for = what
        caller._stopped.release()
        caller._may_run.acquire()
        if isinstance(caller._reply, BaseException):
            raise caller._reply
        return caller._reply

    def _run(self) -> None:
        self.current.caller = self
        self._may_run.acquire()
        try:
            self.outcome = self._work()
        except BaseException as error:
            self.outcome = error
        finally:
            self._stopped.release()


def send(route: Route, request: HttpRequest, deadline: Deadline) -> HttpResponse:
    answered: HttpResponse = Caller.wait_for(Sending(route, deadline))
    return answered


class SteppedTokenSource(TokenSource):
    """A token source whose waits and background exchanges are stepped by the test."""

    def __init__(
        self, config: ReloadingConfig, timing: FakeTiming, cache: SharedTokenCache | None
    ) -> None:
        super().__init__(config, timing, shared_cache=cache, send=send)
        self.background: list[tuple[tuple[str, int], Callable[[], CachedToken]]] = []

    def _wait(self, in_flight: InFlight) -> bool:
        is_finished: bool = Caller.wait_for(Joining(in_flight))
        return is_finished

    def _start(self, thread: str, in_flight: InFlight) -> bool:
        self.background.append((in_flight.state.key, partial(self._carry_out, in_flight)))
        return True


class ClientModel(RuleBasedStateMachine):
    @initialize(is_shared=st.booleans(), jitter=st.floats(0, 0.99))
    def begin(self, is_shared: bool, jitter: float) -> None:
        self.truth = 0.0
        self.clock = FakeClock()
        self.timing = FakeTiming(self.clock, jitter=jitter)
        self.timing.sleep = lambda seconds: Caller.wait_for(Pausing(seconds))
        self.folder = tempfile.mkdtemp(prefix="model-")
        os.chmod(self.folder, 0o700)
        self.is_shared = is_shared
        self.ends: dict[str, float] = {}
        self.callers: list[Caller] = []
        self.failed: dict[tuple[int, int], float] = {}
        self.got: list[CachedToken] = []
        self.sources = [self.source(is_shared) for _ in range(2)]

    def source(self, is_shared: bool) -> SteppedTokenSource:
        config = credentials_config("http://127.0.0.1:1/kubernetes")
        cache = (
            SharedTokenCache(folder=self.folder, environ={}, warn=_no_warning)
            if is_shared
            else None
        )
        return SteppedTokenSource(ReloadingConfig(config), self.timing, cache)

    # -- what callers do

    @rule(process=st.integers(0, 1), question=st.integers(0, 1))
    def ask(self, process: int, question: int) -> None:
        work = partial(self.sources[process].get, QUESTIONS[question])
        self.start(Caller(work, process, question, self.truth))

    @rule(process=st.integers(0, 1), question=st.integers(0, 1))
    def refresh(self, process: int, question: int) -> None:
        """As the agent does: in the foreground, once the token is stale."""
        work = partial(self.sources[process].get, QUESTIONS[question], in_background=False)
        self.start(Caller(work, process, question, self.truth))

    @precondition(lambda self: self.got)
    @rule(data=st.data(), process=st.integers(0, 1), question=st.integers(0, 1))
    def renew(self, data: st.DataObject, process: int, question: int) -> None:
        refused = data.draw(st.sampled_from(self.got[-3:])).token
        caller = Caller(
            partial(self.sources[process].get, QUESTIONS[question], refused),
            process,
            question,
            self.truth,
        )
        caller.refused = refused
        self.start(caller)

    def start(self, caller: Caller) -> None:
        self.callers.append(caller)
        self.step(caller, None)

    def step(self, caller: Caller, outcome: object) -> None:
        """Let a caller go on until it has to wait for something."""
        was_sending = isinstance(caller.waits_for, Sending)
        caller.resume(outcome)
        ended = caller.outcome
        if isinstance(ended, CachedToken):
            self.callers.remove(caller)
            self.handed_out(caller, ended)
        elif isinstance(ended, DaypassError):
            self.callers.remove(caller)
            self.told(ended)
            if was_sending:
                self.failed[(caller.process, caller.question)] = self.truth
        elif isinstance(ended, Interrupted):
            self.callers.remove(caller)
        elif ended is not None:
            raise ended
        else:
            caller.since = self.truth
            if isinstance(caller.waits_for, Sending) and not was_sending:
                failed = self.failed.get((caller.process, caller.question))
                if failed is not None and caller.began >= failed:
                    assert self.truth - failed >= 0.5, "the door is hammered"
        for source in self.sources:
            while source.background:
                key, work = source.background.pop()
                self.start(
                    Caller(work, self.sources.index(source), QUESTIONS.index(key), self.truth)
                )

    def told(self, error: DaypassError) -> None:
        assert SENTINEL not in f"{error!r} {error}"
        assert error.hint

    def handed_out(self, caller: Caller, cached: CachedToken) -> None:
        value = cached.value
        assert self.truth < self.ends[value], "a token is returned after its expiry"
        if caller.refused is not None and cached.token.value == caller.refused.value:
            process = self.sources[caller.process]._process()
            state = process.states[QUESTIONS[caller.question]]
            age = cached.age_seconds(self.clock)
            assert age < state.least_age_seconds(), "a refused token comes back"
        self.got.append(cached)

    # -- what the world does

    def sending(self) -> list[Caller]:
        return [caller for caller in self.callers if isinstance(caller.waits_for, Sending)]

    @precondition(lambda self: self.sending())
    @rule(data=st.data(), granted=st.sampled_from((3600, 600)), is_dated=st.booleans())
    def grant(self, data: st.DataObject, granted: int, is_dated: bool) -> None:
        self.answer_one(data.draw(st.sampled_from(self.sending())), granted, is_dated)

    def answer_one(self, caller: Caller, granted: int = 3600, is_dated: bool = True) -> None:
        number, now = len(self.ends), NOON + self.truth
        lifetime = min(granted, QUESTIONS[caller.question][1])
        read = response(
            token_answer(
                now=now, granted_seconds=lifetime, date=now if is_dated else None, number=number
            )
        )
        self.ends[_token_in(read.body)] = self.truth + lifetime
        self.step(caller, read)

    @precondition(lambda self: self.sending())
    @rule(data=st.data(), fault=st.sampled_from(FAULTS))
    def fail(self, data: st.DataObject, fault: bytes | OSError) -> None:
        caller = data.draw(st.sampled_from(self.sending()))
        assert isinstance(caller.waits_for, Sending)
        if isinstance(fault, OSError):
            self.step(caller, _error(caller.waits_for, CONNECT, fault))
        else:
            self.step(caller, response(fault))

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        """A thread is interrupted."""
        self.step(data.draw(st.sampled_from(self.callers)), Interrupted())

    @rule(seconds=st.one_of(st.floats(0.01, 31), st.sampled_from((300, 1200, 3589, 3600, 90_000))))
    def pass_time(self, seconds: float) -> None:
        """Time passes, awake or asleep: the monotonic clock goes on while a machine sleeps."""
        self.truth += seconds
        self.clock.advance(seconds)
        self.due()

    @rule(seconds=st.sampled_from((-90_000, -3600, -30, 30, 3600, 90_000)))
    def set_the_clock(self, seconds: float) -> None:
        self.clock.now_unix += seconds

    def due(self) -> None:
        for caller in list(self.callers):
            what, waited = caller.waits_for, self.truth - caller.since
            if isinstance(what, Pausing) and waited >= what.seconds:
                self.step(caller, None)
            elif isinstance(what, Sending) and waited >= what.timeout_seconds:
                self.step(caller, _error(what, ANSWER, TimeoutError()))

    @rule()
    def wake(self) -> None:
        """Callers that wait for a finished exchange go on."""
        for caller in list(self.callers):
            if isinstance(caller.waits_for, Joining) and caller.waits_for.in_flight.is_finished:
                self.step(caller, True)

    # -- what has to hold

    @invariant()
    def one_exchange_at_a_time(self) -> None:
        sending = [c for c in getattr(self, "callers", []) if isinstance(c.waits_for, Sending)]
        here = [(caller.process, caller.question) for caller in sending]
        assert len(here) == len(set(here))
        if sending and self.is_shared:
            # A process that has waited for another for half a deadline goes on alone.
            patient = [c.question for c in sending if c.since - c.began < 15]
            assert len(patient) == len(set(patient))

    def teardown(self) -> None:
        if not hasattr(self, "callers"):
            return
        for _ in range(200):  # the door works: every caller comes to an end
            self.pass_time(0.5)
            for caller in self.sending():
                self.answer_one(caller)
            self.wake()
        left = [caller.waits_for for caller in self.callers]
        for caller in self.callers:
            caller.resume(Interrupted())
        shutil.rmtree(self.folder)
        assert not left, "somebody waits for ever"


def _token_in(body: bytes) -> str:
    token: str = json.loads(body)["status"]["token"]
    return token


def _error(what: Sending, stage: str, cause: OSError) -> TransportError:
    error = TransportError(stage, what.route)
    error.__cause__ = cause
    return error


def _no_warning(problem: CacheWarning) -> None:
    raise problem


TestClientModel = ClientModel.TestCase
TestClientModel.settings = settings(max_examples=60, stateful_step_count=40)
