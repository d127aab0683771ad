"""What is known of one key (audience and lifetime), and what a caller that needs its token does.

A caller joins the `KeyState`. The outcome is `Ready`, with a token, `Own`, an exchange to carry
out, or `Wait`, for the exchange of another caller. So of all threads and tasks that need the same
token, one exchanges. Every method of KeyState is called under the lock of its TokenSource, and none
does any I/O.
"""

from __future__ import annotations

import threading

from daypass._core.record import Record
from daypass.client.retry import RENEWALS, TRIES, Failures
from daypass.client.token import deferred_seconds, fresh_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass._core.clock import Clock
    from daypass._core.errors import DaypassError
    from daypass.client.config import CredentialsConfig
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Timing

    Key = tuple[str, int]
    """Audience and lifetime in seconds."""

_WAIT_MARGIN_SECONDS = 5.0
"""A caller waits this much longer than the deadline of an exchange for the exchange of another."""


def wait_seconds(timing: Timing) -> float:
    """Return how long a caller waits for the exchange of another before it exchanges itself."""
    return timing.exchange_seconds + _WAIT_MARGIN_SECONDS


class InFlight:
    """An exchange in progress for a key. Threads and tasks of any event loop can wait for it.

    It ends once: with `token`, with `error`, or abandoned, with neither. After an abandoned one, a
    caller that waited takes over. `interruption`: the exception that it was abandoned for.
    `rejected`: the token that it replaces because a server rejected it. `tries`: see `exchange`.
    `config`: the credentials that it uses; None before it has looked at them.
    """

    def __init__(self, state: KeyState, rejected: Token | None, tries: int) -> None:
        self.state = state
        self.rejected = rejected
        self.tries = tries
        self.config: CredentialsConfig | None = None
        self.token: CachedToken | None = None
        self.error: DaypassError | None = None
        self.interruption: BaseException | None = None
        self.is_finished = False
        self.thread_id = threading.get_ident()
        """The thread that exchanges; 0 before that one has started."""
        self._finished = threading.Lock()
        self._finished.acquire()
        self._callbacks: list[Callable[[], object]] = []

    def finish(self) -> None:
        """Wake all that wait."""
        self.is_finished = True
        self._finished.release()
        while self._callbacks:
            self._callbacks.pop()()

    def wait(self, timeout_seconds: float) -> bool:
        """Block until it is finished; return False after the timeout.

        Returns False at once on the thread that exchanges: a signal or log handler that requests a
        token there must not wait for itself.
        """
        if self._is_own_thread():
            return False
        if not self._finished.acquire(timeout=timeout_seconds):
            return False
        self._finished.release()
        return True

    async def wait_async(self, timeout_seconds: float) -> bool:
        """Await that it is finished, as `wait` does for a thread."""
        import asyncio
        from contextlib import suppress

        if self._is_own_thread():
            return False
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(finished.set)

        self._callbacks.append(wake)
        if not self.is_finished:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await finished.wait()
        return self.is_finished

    def _is_own_thread(self) -> bool:
        return self.thread_id == threading.get_ident() and not self.is_finished


class Ready(Record):
    """Use this token. `refresh`: an exchange to carry out in the background, or None."""

    token: CachedToken
    refresh: InFlight | None = None


class Own(Record):
    """Carry out this exchange."""

    in_flight: InFlight


class Wait(Record):
    """Wait for this exchange of another caller, and join again."""

    in_flight: InFlight


class KeyState:
    """The token of a key, the exchange in progress, and the failures in a row."""

    def __init__(self, key: Key, token: CachedToken | None = None) -> None:
        self.key = key
        self.token = token
        self.in_flight: InFlight | None = None
        self.failures = Failures()
        self.renewals = 0
        """How many tokens in a row were renewed because servers rejected them."""

    def join(
        self,
        rejected: Token | None,
        timing: Timing,
        config_changed: Callable[[], bool],
        *,
        in_background: bool,
    ) -> Ready | Own | Wait:
        """Decide what a caller does, whose token a server `rejected`, if any.

        A stale token is used and refreshed `in_background`, or else replaced first. Raises the last
        error while no request is sent to the door.
        """
        clock, token = timing.clock, self.token
        if token is not None and token.is_usable(clock):
            if rejected is None or token.token.value != rejected.value:
                is_pending = self.in_flight is not None or self.failures.due_seconds(clock) > 0
                if token.is_fresh(clock) or is_pending:
                    return Ready(token=token)
                # Until the exchange is over, it is used without a second refresh.
                token.defer_refresh(token.age_seconds(clock) + wait_seconds(timing))
                if in_background:
                    return Ready(token=token, refresh=self._begin(None, tries=1))
                return Own(in_flight=self._begin(None))
            if token.age_seconds(clock) < self.least_age_seconds():
                return Ready(token=token)
        if self.in_flight is not None:
            return Wait(in_flight=self.in_flight)
        error = self.failures.pending_error(clock)
        if error is not None and not config_changed():
            raise error
        return Own(in_flight=self._begin(rejected))

    def _begin(self, rejected: Token | None, tries: int = TRIES) -> InFlight:
        self.in_flight = InFlight(self, rejected, 1 if self.failures.count else tries)
        return self.in_flight

    def least_age_seconds(self) -> float:
        """Return how old a token has to be before it is renewed again because of a rejection."""
        return RENEWALS.seconds(self.renewals) if self.renewals else 0.0

    def due_seconds(self, clock: Clock) -> float:
        """Return how long it is until the next exchange is due."""
        pause, token = self.failures.due_seconds(clock), self.token
        if token is not None and token.is_usable(clock):
            pause = max(pause, token.fresh_seconds - token.age_seconds(clock))
        return pause

    def complete(self, in_flight: InFlight, token: CachedToken, timing: Timing) -> None:
        """Store the token of an exchange, unless it was given up and a newer token is there."""
        self.abandon(in_flight)
        before = self.token
        if before is not None and before.received_monotonic > token.received_monotonic:
            return
        if token.fresh_seconds == 0.0:
            is_first = before is None or self.failures.count > 0
            token.fresh_seconds = fresh_seconds(
                token.usable_seconds, timing.jitter(), is_first=is_first
            )
        if before is not None:
            before.fresh_seconds = 0.0  # callers that remember it look it up again
        self.token = token
        self.failures.clear()
        self.renewals = 0 if in_flight.rejected is None else self.renewals + 1

    def fail(self, in_flight: InFlight, error: DaypassError, timing: Timing) -> float:
        """Store the error of an exchange and back off, unless the exchange was given up.

        Returns for how many seconds there still is a usable token.
        """
        if self.in_flight is not in_flight:
            return 0.0
        clock, token = timing.clock, self.token
        self.in_flight = None
        self.failures.add(error, timing)
        if token is None:
            return 0.0
        age = token.age_seconds(clock)
        left = max(0.0, token.usable_seconds - age)
        pause = self.failures.due_seconds(clock)
        token.defer_refresh(age + max(pause, deferred_seconds(left, timing.jitter())))
        return left

    def abandon(self, in_flight: InFlight) -> None:
        """Let the next caller exchange. The exchange may still complete later."""
        if self.in_flight is in_flight:
            self.in_flight = None

    def replace_credentials(self, *, is_other_identity: bool) -> None:
        """Forget failures, and replace the token soon; at once if it is another identity's."""
        self.failures.clear()
        if self.token is not None:
            # It is bound to the old Secret, which will be deleted.
            self.token.fresh_seconds = 0.0
            if is_other_identity:
                self.token.usable_seconds = 0.0

    def child(self, timing: Timing) -> KeyState:
        """Return the state in a forked child. Each child refreshes at a moment of its own."""
        token = self.token
        if token is not None and token.fresh_seconds > 0:
            age = token.age_seconds(timing.clock)
            left = token.usable_seconds - age
            token.defer_refresh(age + fresh_seconds(left, timing.jitter(), is_first=True))
        return KeyState(self.key, token)
