"""The tokens of one set of credentials: which one is used, when it is replaced, and by whom.

`KeyState` holds what is known of one key (audience and lifetime) and decides: it does no I/O, and
is called under a lock. `TokenSource` carries out what it decides. Of all threads and tasks that
need the same token, one exchanges, and the others wait for that InFlight. An exchange is blocking
code: `get` runs it on the thread of the caller, `get_async` and a refresh on a daemon thread.

After a fork the child has the cached tokens, but neither the parent's lock nor its in-flight
exchanges, which nothing would ever finish there. So both are found by the process id.
"""

from __future__ import annotations

import os
import threading

from daypass._core.errors import DaypassError
from daypass.client.errors import ExchangeRefusedError, TemporaryError, copied, log_warning
from daypass.client.exchange import TRIES, exchange
from daypass.client.token import (
    backoff_seconds,
    fresh_seconds,
    renewal_delay_seconds,
    requested_delay_seconds,
    retry_delay_seconds,
)
from daypass.client.transport import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass._core.clock import Clock
    from daypass.client.config import CredentialsConfig, ReloadingConfig
    from daypass.client.shared_cache import SharedTokenCache
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Send, Timing

    Key = tuple[str, int]
    """Audience and lifetime in seconds."""


_WAIT_MARGIN_SECONDS = 5.0
"""A caller waits this much longer than the deadline of an exchange for the exchange of another."""
_EXCHANGE_THREAD, _REFRESH_THREAD = "daypass-exchange", "daypass-refresh"
_LIMIT_KEYS = 64
"""With more keys than this, those without a usable token are removed."""


class InFlight:
    """An exchange in progress. Threads and tasks of any event loop can wait for it.

    It ends once: with `token`, with `error`, or abandoned, with neither. After an abandoned one, a
    caller that waited takes over. `interruption`: the exception that it was abandoned for.
    """

    __slots__ = (
        "_callbacks", "_finished", "error", "interruption", "is_finished", "thread_id", "token",
    )  # fmt: skip

    def __init__(self) -> None:
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


class KeyState:
    """What is known of one key. Every method is called under the lock, and none does any I/O."""

    __slots__ = ("error", "failed_at", "failures", "in_flight", "not_before", "renewals", "token")

    def __init__(self, token: CachedToken | None = None) -> None:
        self.token = token
        self.in_flight: InFlight | None = None
        self.failures = 0
        """How many exchanges failed in a row."""
        self.error: DaypassError | None = None
        self.failed_at = 0.0
        self.not_before = 0.0
        """No request is sent before this time (monotonic), after a failure."""
        self.renewals = 0
        """How many tokens in a row were renewed because servers rejected them."""

    def join(
        self, rejected: Token | None, timing: Timing, config_changed: Callable[[], bool]
    ) -> tuple[CachedToken | None, InFlight | None, bool]:
        """Decide what a caller does: return a token, an exchange, and whether it is the caller's.

        - A token alone: use it.
        - A token and an exchange: use the token, and refresh it with that exchange.
        - An exchange of its own: carry it out.
        - An exchange of another caller: wait for it.

        Raises the last error while no request is sent to the door.
        """
        clock, token = timing.clock, self.token
        is_backing_off = clock.monotonic() < self.not_before
        if token is not None and token.is_usable(clock):
            if rejected is None or token.token.value != rejected.value:
                if token.is_fresh(clock) or self.in_flight is not None or is_backing_off:
                    return token, None, False
                # Until the exchange is over, it is used without a second refresh.
                token.defer_refresh(token.age_seconds(clock) + wait_seconds(timing))
                self.in_flight = InFlight()
                return token, self.in_flight, True
            if token.age_seconds(clock) < renewal_delay_seconds(self.renewals):
                return token, None, False
        if self.in_flight is not None:
            return None, self.in_flight, False
        if is_backing_off and self.error is not None and not config_changed():
            raise self._repeated(self.error, clock.monotonic())
        self.in_flight = InFlight()
        return None, self.in_flight, True

    def due_seconds(self, clock: Clock) -> float:
        """Return how long it is until the next exchange is due."""
        pause, token = self.not_before - clock.monotonic(), self.token
        if token is not None and token.is_usable(clock):
            pause = max(pause, token.fresh_seconds - token.age_seconds(clock))
        return max(0.0, pause)

    def complete(
        self, in_flight: InFlight, token: CachedToken, timing: Timing, *, is_renewal: bool
    ) -> None:
        """Store the token of an exchange, unless it was given up and a newer token is there."""
        self.abandon(in_flight)
        before = self.token
        if before is not None and before.received_monotonic > token.received_monotonic:
            return
        if token.fresh_seconds == 0.0:
            token.fresh_seconds = fresh_seconds(
                token.usable_seconds,
                timing.jitter(),
                is_first=before is None or self.failures > 0,
            )
        if before is not None:
            before.fresh_seconds = 0.0  # callers that remember it look it up again
        self.token = token
        self.failures, self.error, self.not_before = 0, None, 0.0
        self.renewals = self.renewals + 1 if is_renewal else 0

    def fail(self, in_flight: InFlight, error: DaypassError, timing: Timing) -> float:
        """Store the error of an exchange and back off, unless the exchange was given up.

        Returns for how many seconds there still is a usable token.
        """
        if self.in_flight is not in_flight:
            return 0.0
        clock, jitter, token = timing.clock, timing.jitter(), self.token
        self.in_flight = None
        self.failures += 1
        self.error, self.failed_at = error, clock.monotonic()
        pause = backoff_seconds(self.failures, jitter)
        if isinstance(error, TemporaryError) and error.retry_after_seconds is not None:
            pause = max(pause, requested_delay_seconds(error.retry_after_seconds, jitter))
        self.not_before = self.failed_at + pause
        if token is None:
            return 0.0
        age = token.age_seconds(clock)
        left = max(0.0, token.usable_seconds - age)
        token.defer_refresh(age + max(pause, retry_delay_seconds(left, jitter)))
        return left

    def abandon(self, in_flight: InFlight) -> None:
        """Let the next caller exchange. The exchange may still complete later."""
        if self.in_flight is in_flight:
            self.in_flight = None

    def replace_credentials(self, *, is_other_identity: bool) -> None:
        """Forget failures, and replace the token soon; at once if it is another identity's."""
        self.failures, self.not_before = 0, 0.0
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
        return KeyState(token)

    def _repeated(self, error: DaypassError, now: float) -> DaypassError:
        error = copied(error)
        if error.heals_by_itself:
            ago, left = now - self.failed_at, self.not_before - now
            when = f"that was {ago:.0f} s ago; the next attempt is in {left:.0f} s"
            error.hint = f"{error.hint}\n{when}" if error.hint else when
            error.args = (error.fact, error.hint)
        return error


class _Process:
    __slots__ = ("lock", "states")

    def __init__(self) -> None:
        # Reentrant: a signal handler may request a token on the thread that holds it.
        self.lock = threading.RLock()
        self.states: dict[Key, KeyState] = {}


class TokenSource:
    """Obtains and caches the tokens of one set of credentials.

    `shared_cache`: the cache on disk that all processes share, or None.
    """

    __slots__ = ("_config", "_processes", "_send", "_shared_cache", "_timing")

    def __init__(
        self,
        config: ReloadingConfig,
        timing: Timing,
        *,
        shared_cache: SharedTokenCache | None = None,
        send: Send = send,
    ) -> None:
        self._config = config
        self._timing = timing
        self._shared_cache = shared_cache
        self._send = send
        self._processes = {os.getpid(): _Process()}

    def key(self, audience: str | None, lifetime_seconds: int | None) -> Key:
        """Return the key of a token; None selects the credentials' own. Raises CredentialsError."""
        return self._config.current.key(audience, lifetime_seconds)

    def due_seconds(self, key: Key) -> float:
        """Return how long `refresh` will send no request: 0 if an exchange is due."""
        process = self._process()
        with process.lock:
            return self._state(process, key).due_seconds(self._timing.clock)

    def refresh(self, key: Key) -> CachedToken:
        """Return a fresh token: unlike `get`, wait for the refresh of a stale one.

        Raises the errors of `daypass.client.errors`, even if the stale one is still usable.
        """
        return self.get(key, in_background=False)

    def get(
        self, key: Key, rejected: Token | None = None, *, in_background: bool = True
    ) -> CachedToken:
        """Return a usable token, from memory or by an exchange; if possible not `rejected`.

        A stale token is refreshed `in_background`. Raises the errors of `daypass.client.errors`.
        """
        while True:
            state, token, in_flight, is_owner = self._join(key, rejected, in_background)
            if in_flight is None:
                assert token is not None  # noqa: S101
                return token
            if is_owner:
                return self._exchange_into(state, key, in_flight, rejected)
            if not self._wait(in_flight):
                self._abandon(state, in_flight)
            elif in_flight.error is not None:
                raise copied(in_flight.error)

    async def get_async(self, key: Key, rejected: Token | None = None) -> CachedToken:
        """Return what `get` does without blocking. The exchange of a cancelled task goes on."""
        while True:
            state, token, in_flight, is_owner = self._join(key, rejected)
            if in_flight is None:
                assert token is not None  # noqa: S101
                return token
            if is_owner and not self._start(_EXCHANGE_THREAD, state, key, in_flight, rejected):
                return self._exchange_into(state, key, in_flight, rejected)
            if not await in_flight.wait_async(wait_seconds(self._timing)):
                self._abandon(state, in_flight)
            elif in_flight.error is not None:
                raise copied(in_flight.error)
            elif is_owner and in_flight.interruption is not None:
                raise in_flight.interruption
            elif is_owner and in_flight.token is not None:
                return in_flight.token

    def _wait(self, in_flight: InFlight) -> bool:
        return in_flight.wait(wait_seconds(self._timing))

    def _join(
        self, key: Key, rejected: Token | None, in_background: bool = True
    ) -> tuple[KeyState, CachedToken | None, InFlight | None, bool]:
        process = self._process()
        with process.lock:
            state = self._state(process, key)
            token, in_flight, is_owner = state.join(
                rejected, self._timing, self._config.has_changed
            )
        if token is not None and in_flight is not None and in_background:
            if not self._start(_REFRESH_THREAD, state, key, in_flight, None, tries=1):
                self._abandon(state, in_flight)
                in_flight.finish()
            in_flight = None
        return state, token, in_flight, is_owner

    def _process(self) -> _Process:
        pid = os.getpid()
        process = self._processes.get(pid)
        if process is None:
            process = _Process()
            parent = next(reversed(self._processes.values()))
            for key, state in list(parent.states.items()):
                process.states[key] = state.child(self._timing)
            process = self._processes.setdefault(pid, process)
        return process

    def _state(self, process: _Process, key: Key) -> KeyState:
        state = process.states.get(key)
        if state is None:
            if len(process.states) >= _LIMIT_KEYS:
                for other, held in list(process.states.items()):
                    is_usable = held.token is not None and held.token.is_usable(self._timing.clock)
                    if held.in_flight is None and not is_usable:
                        del process.states[other]
            state = process.states[key] = KeyState()
        return state

    def _start(
        self,
        thread: str,
        state: KeyState,
        key: Key,
        in_flight: InFlight,
        rejected: Token | None,
        *,
        tries: int | None = None,
    ) -> bool:
        """Exchange on a daemon thread; return False if none can be started."""

        def run() -> None:
            try:
                self._exchange_into(state, key, in_flight, rejected, tries)
            except DaypassError:
                pass  # it is in the state, and in the log or raised by those that wait
            except BaseException:
                if thread == _REFRESH_THREAD:  # otherwise the task raises it
                    raise

        in_flight.thread_id = 0
        try:
            self._timing.start(thread, run)
        except RuntimeError:  # the interpreter is exiting, or there are too many threads
            return False
        return True

    def _exchange_into(
        self,
        state: KeyState,
        key: Key,
        in_flight: InFlight,
        rejected: Token | None,
        tries: int | None = None,
    ) -> CachedToken:
        """Exchange on this thread, put the outcome into the state, and wake those that wait."""
        lock = self._process().lock
        in_flight.thread_id = threading.get_ident()
        if tries is None:
            tries = 1 if state.failures else TRIES
        try:
            token = self._find_or_exchange(key, rejected, tries)
            with lock:
                state.complete(in_flight, token, self._timing, is_renewal=rejected is not None)
            in_flight.token = token
            return token
        except DaypassError as error:
            problem = copied(error)
            with lock:
                left = state.fail(in_flight, problem, self._timing)
            if left:  # outside of the lock: a log handler may request a token
                what = f"a token could not be refreshed; the current one is used for {left:.0f} s"
                if rejected is not None:
                    what = "a token that a server refused (401) could not be renewed"
                log_warning(what, problem)
            in_flight.error = problem
            raise
        except BaseException as error:
            in_flight.interruption = error
            raise
        finally:
            with lock:
                state.abandon(in_flight)
            in_flight.finish()

    def _abandon(self, state: KeyState, in_flight: InFlight) -> None:
        with self._process().lock:
            state.abandon(in_flight)

    def _find_or_exchange(self, key: Key, rejected: Token | None, tries: int) -> CachedToken:
        """Return a token that another process has cached, or exchange for one and cache it."""
        config = self._current_config()
        cache, name = self._shared_cache, config.cache_entry(key)
        if cache is None or name is None:
            return self._exchange(config, key, tries)
        name = cache.only_entry or name
        lock = cache.lock(name)
        try:
            found = cache.wait(name, lock, rejected, self._timing)
            if found is not None:
                return found
            token = self._exchange(config, key, tries)
            token.fresh_seconds = fresh_seconds(
                token.usable_seconds, self._timing.jitter(), is_first=True
            )
            if self._config.current is config and config.inputs is not None:
                cache.put(name, token, config.inputs)
            return token
        finally:
            lock.release()

    def _exchange(self, config: CredentialsConfig, key: Key, tries: int) -> CachedToken:
        """Exchange; if the subject token is refused and its file has another one, once more."""
        try:
            return exchange(config, key, self._timing, send=self._send, tries=tries)
        except ExchangeRefusedError as error:
            renewed = self._current_config(reload=True)
            if self._config.problem is not None:
                raise copied(self._config.problem) from error
            if renewed.token is None or renewed.token == config.token:
                raise
        return exchange(renewed, key, self._timing, send=self._send, tries=tries)

    def _current_config(self, *, reload: bool = False) -> CredentialsConfig:
        before = self._config.current
        if not reload and not self._config.has_changed():
            return before
        after = self._config.reload()
        is_other = _account(before) != _account(after)
        if is_other or before.token != after.token:
            process = self._process()
            with process.lock:
                for state in process.states.values():
                    state.replace_credentials(is_other_identity=is_other)
        return after


def wait_seconds(timing: Timing) -> float:
    """Return how long a caller waits for the exchange of another before it exchanges itself."""
    return timing.exchange_seconds + _WAIT_MARGIN_SECONDS


def _account(config: CredentialsConfig) -> tuple[str, str, str]:
    return config.door.url, config.identity.namespace, config.identity.service_account
