"""Many callers, a door with moods, and clocks that jump, against an oracle that knows the truth.

A caller is a flow: what a thread or a task does between two effects is one step here, so every
interleaving of threads and tasks is one of these runs, and each of them is the same every time.
Two supplies stand for two processes; in half of the runs they share a shelf, with real files and
real locks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daypass._core.errors import DaypassError
from daypass.client.config import CredentialsConfig
from daypass.client.config_source import CredentialsSource
from daypass.client.effects import Join, Send, Wait
from daypass.client.refresh import renewal_delay_seconds
from daypass.client.reloading_config import ReloadingConfig
from daypass.client.shared_cache import SharedTokenCache
from daypass.client.token import CachedToken, Token
from daypass.client.token_source import TokenSource
from daypass.client.transport import ANSWER, CONNECT, TransportError
from support.exchanges import response
from support.fake_door import (
    AUDIENCE,
    SENTINEL,
    answer,
    credentials_document,
    status_answer,
    token_answer,
)
from support.timing import NOON, FakeClock, FakeTiming

if TYPE_CHECKING:
    from daypass.client.effects import Flow

QUESTIONS = ((AUDIENCE, 3600), (AUDIENCE, 600))
FAULTS = (
    answer(503),
    status_answer(429, "slow down", "Retry-After: 40"),
    status_answer(401, "Unauthorized"),
    answer(200, "<html>Sign in</html>", content_type="text/html"),
    ConnectionRefusedError(),
    ConnectionResetError(),
)


class SteppedSupply(TokenSource):
    """A supply whose background flows are stepped by the test as well."""

    def __init__(
        self, reading: ReloadingConfig, timing: FakeTiming, shelf: SharedTokenCache | None
    ) -> None:
        super().__init__(reading, timing, shelf=shelf)
        self.background: list[Flow[CachedToken]] = []

    def _drive(self, flow: Flow[CachedToken]) -> None:
        self.background.append(flow)


class Caller:
    """A flow, and where it stands."""

    def __init__(self, flow: Flow[CachedToken], process: int, question: int, began: float) -> None:
        self.flow: Generator[Any, Any, CachedToken] = flow
        self.process = process
        self.question = question
        self.began = began
        self.effect: Send | Wait | Join | None = None
        self.since = 0.0
        self.refused: Token | None = None
        self.is_background = False


class ClientModel(RuleBasedStateMachine):
    @initialize(is_shared=st.booleans(), chance=st.floats(0, 0.99))
    def begin(self, is_shared: bool, chance: float) -> None:
        self.truth = 0.0
        self.clock = FakeClock()
        self.timing = FakeTiming(self.clock, chance=chance)
        self.timing.begin = lambda work: work()
        self.folder = tempfile.mkdtemp(prefix="model-")
        os.chmod(self.folder, 0o700)
        self.is_shared = is_shared
        self.ends: dict[str, float] = {}
        self.callers: list[Caller] = []
        self.failed: dict[tuple[int, int], float] = {}
        self.got: list[CachedToken] = []
        self.supplies = [self.supply(is_shared) for _ in range(2)]

    def supply(self, is_shared: bool) -> SteppedSupply:
        document = credentials_document("http://127.0.0.1:1/kubernetes")
        settings = CredentialsConfig(document, origin="/c.json", now_unix=NOON)
        settings.source = CredentialsSource(origin="/c.json", document=b"these")
        shelf = SharedTokenCache(self.folder, {}, _no_warning) if is_shared else None
        return SteppedSupply(ReloadingConfig(settings), self.timing, shelf)

    # -- what callers do

    @rule(process=st.integers(0, 1), question=st.integers(0, 1))
    def ask(self, process: int, question: int) -> None:
        flow = self.supplies[process].obtain(QUESTIONS[question])
        self.start(Caller(flow, process, question, self.truth))

    @precondition(lambda self: self.got)
    @rule(data=st.data(), process=st.integers(0, 1), question=st.integers(0, 1))
    def renew(self, data: st.DataObject, process: int, question: int) -> None:
        refused = data.draw(st.sampled_from(self.got[-3:])).token
        caller = Caller(
            self.supplies[process].obtain(QUESTIONS[question], refused),
            process, question, self.truth,
        )  # fmt: skip
        caller.refused = refused
        self.start(caller)

    def start(self, caller: Caller) -> None:
        self.callers.append(caller)
        self.step(caller, None)

    def step(self, caller: Caller, outcome: object) -> None:
        """Let a caller go on until it has to wait for something."""
        was_sending = isinstance(caller.effect, Send)
        try:
            if isinstance(outcome, Exception):
                effect = caller.flow.throw(outcome)
            else:
                effect = caller.flow.send(outcome)
        except StopIteration as stop:
            self.callers.remove(caller)
            self.handed_out(caller, stop.value)
        except DaypassError as error:
            self.callers.remove(caller)
            self.told(error)
            if was_sending:
                self.failed[(caller.process, caller.question)] = self.truth
        else:
            caller.effect, caller.since = effect, self.truth
            if isinstance(effect, Send) and not was_sending:
                failed = self.failed.get((caller.process, caller.question))
                if failed is not None and caller.began >= failed:
                    assert self.truth - failed >= 0.5, "the door is hammered"
        for supply in self.supplies:
            while supply.background:
                flow = supply.background.pop()
                question = QUESTIONS.index(flow.gi_frame.f_locals["question"])  # type: ignore[attr-defined]
                begun = Caller(flow, self.supplies.index(supply), question, self.truth)
                begun.is_background = True
                self.start(begun)

    def told(self, error: DaypassError) -> None:
        assert SENTINEL not in f"{error!r} {error}"
        assert error.hint

    def handed_out(self, caller: Caller, grant: CachedToken) -> None:
        value = grant.token.value.reveal()
        assert self.truth < self.ends[value], "a token is handed out past its end"
        if caller.refused is not None and grant.token.value == caller.refused.value:
            process = self.supplies[caller.process]._process()
            holding = process.holdings[QUESTIONS[caller.question]]
            spacing = renewal_delay_seconds(holding.renewals)
            assert spacing > grant.age_seconds(self.clock), "a refused token comes back"
        self.got.append(grant)

    # -- what the world does

    def sending(self) -> list[Caller]:
        return [caller for caller in self.callers if isinstance(caller.effect, Send)]

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
        assert isinstance(caller.effect, Send)
        if isinstance(fault, OSError):
            self.step(caller, _error(caller.effect, CONNECT, fault))
        else:
            self.step(caller, response(fault))

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        """A task is cancelled, a thread interrupted."""
        caller = data.draw(st.sampled_from(self.callers))
        caller.flow.close()
        self.callers.remove(caller)

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
            effect, waited = caller.effect, self.truth - caller.since
            if isinstance(effect, Wait) and waited >= effect.seconds:
                self.step(caller, None)
            elif isinstance(effect, Send) and waited >= effect.timeout_seconds:
                self.step(caller, _error(effect, ANSWER, TimeoutError()))

    @rule()
    def wake(self) -> None:
        """Whoever waits for a flight that has landed goes on."""
        for caller in list(self.callers):
            if isinstance(caller.effect, Join) and caller.effect.flight.has_landed:
                self.step(caller, True)

    # -- what has to hold

    @invariant()
    def one_exchange_at_a_time(self) -> None:
        sending = [c for c in getattr(self, "callers", []) if isinstance(c.effect, Send)]
        here = [(caller.process, caller.question) for caller in sending]
        assert len(here) == len(set(here))
        if sending and self.is_shared:
            # Who has waited for another process for half a deadline goes on alone.
            patient = [c.question for c in sending if c.since - c.began < 15]
            assert len(patient) == len(set(patient))

    def teardown(self) -> None:
        if not hasattr(self, "callers"):
            return
        for _ in range(200):  # a door in a good mood: everybody comes to an end
            self.pass_time(0.5)
            for caller in self.sending():
                self.answer_one(caller)
            self.wake()
        left = [caller.effect for caller in self.callers]
        shutil.rmtree(self.folder)
        assert not left, "somebody waits for ever"


def _token_in(body: bytes) -> str:
    token: str = json.loads(body)["status"]["token"]
    return token


def _error(effect: Send, stage: str, cause: OSError) -> TransportError:
    error = TransportError(stage, effect.route)
    error.__cause__ = cause
    return error


def _no_warning(problem: object) -> None:
    raise AssertionError(problem)


TestClientModel = ClientModel.TestCase
TestClientModel.settings = hypothesis_settings(
    max_examples=120, stateful_step_count=40, deadline=None
)
