"""The tokens of one set of credentials, from memory or by an exchange.

The steps of a cold call are numbered: `TokenSource.get` has the first two, `_obtain` the others.
`KeyState` decides what a caller does, and the token source does it. An exchange is blocking code:
`get` runs it on the thread of the caller, `get_async` and a refresh on a daemon thread.

After a fork the child has the cached tokens, but neither the parent's lock nor its in-flight
exchanges, which nothing would ever finish there. So both are found by the process id.
"""

from __future__ import annotations

import os
import threading

from daypass._core.errors import DaypassError
from daypass.client.errors import ExchangeRefusedError, copied, log_warning
from daypass.client.exchange import exchange
from daypass.client.key_state import KeyState, Own, Ready, Wait, wait_seconds
from daypass.client.token import fresh_seconds
from daypass.client.transport import Deadline, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from daypass.client.config import CredentialsConfig, ReloadingConfig
    from daypass.client.key_state import InFlight, Key
    from daypass.client.shared_cache import SharedTokenCache
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Send, Timing


_EXCHANGE_THREAD, _REFRESH_THREAD = "daypass-exchange", "daypass-refresh"


class _Process:
    def __init__(self) -> None:
        # Reentrant: a signal handler may request a token on the thread that holds it.
        self.lock = threading.RLock()
        self.states: dict[Key, KeyState] = {}


class TokenSource:
    """Obtains and caches the tokens of one set of credentials.

    `shared_cache`: the cache on disk that all processes share, or None.
    """

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
        """Return how long `get` will send no request: 0 if an exchange is due."""
        process = self._process()
        with process.lock:
            return self._state(process, key).due_seconds(self._timing.clock)

    def get(
        self, key: Key, rejected: Token | None = None, *, in_background: bool = True
    ) -> CachedToken:
        """Return a usable token, from memory or by an exchange; if possible not `rejected`.

        A stale token is refreshed `in_background`, or else replaced first: then it raises an error
        even if that one is still usable. Raises the errors of `daypass.client.errors`.
        """
        while True:
            # 1. In memory? Or is another caller obtaining it? One exchanges for all.
            match self._join(key, rejected, in_background=in_background):
                case Ready(token=token):
                    return token
                case Own(in_flight=in_flight):
                    return self._carry_out(in_flight)
                # 2. Wait for the other one, and look again.
                case Wait(in_flight=in_flight):
                    self._check(in_flight, is_finished=self._wait(in_flight))

    async def get_async(self, key: Key, rejected: Token | None = None) -> CachedToken:
        """Return what `get` does without blocking. The exchange of a cancelled task goes on."""
        while True:
            joined = self._join(key, rejected, in_background=True)
            if isinstance(joined, Ready):
                return joined.token
            in_flight, is_own = joined.in_flight, isinstance(joined, Own)
            if is_own and not self._start(_EXCHANGE_THREAD, in_flight):
                return self._carry_out(in_flight)
            is_finished = await in_flight.wait_async(wait_seconds(self._timing))
            self._check(in_flight, is_finished=is_finished)
            if is_own and in_flight.interruption is not None:
                raise in_flight.interruption
            if is_own and in_flight.token is not None:
                return in_flight.token

    def _obtain(self, in_flight: InFlight) -> CachedToken:
        """Return a token that another process has cached, or exchange for one and cache it."""
        # 3. The credentials as they are now.
        in_flight.config = config = self._current_config()
        cache = self._shared_cache
        if cache is None:
            return self._exchange(config, in_flight)
        # Only where processes share tokens.
        from daypass.client.shared_cache import CacheWarning, ExchangeLock

        name = cache.only_entry or config.cache_entry(in_flight.state.key)
        with ExchangeLock(cache, name) as lock:
            # 4. In the cache that processes share? One process exchanges for all.
            found = lock.token_or_lock(in_flight.rejected, self._timing)
            if found is not None:
                return found
            # 5. By an exchange.
            token = self._exchange(config, in_flight)
            # 6. Into the shared cache, unless the credentials have changed meanwhile.
            token.fresh_seconds = fresh_seconds(
                token.usable_seconds, self._timing.jitter(), is_first=True
            )
            if self._config.current is config:
                try:
                    cache.store(name, token, config.inputs)
                except CacheWarning as problem:
                    cache.warn(problem)
            return token

    def _exchange(self, config: CredentialsConfig, in_flight: InFlight) -> CachedToken:
        """Exchange; if the subject token is refused and its file has another one, once more."""
        timing, key, tries = self._timing, in_flight.state.key, in_flight.tries
        deadline = Deadline(timing.clock, timing.exchange_seconds)
        try:
            return exchange(config, key, deadline, timing, send=self._send, tries=tries)
        except ExchangeRefusedError as error:
            in_flight.config = renewed = self._current_config(reload=True)
            if self._config.problem is not None:
                raise copied(self._config.problem) from error
            if renewed.token is None or renewed.token == config.token:
                raise
        return exchange(renewed, key, deadline, timing, send=self._send, tries=tries)

    def _carry_out(self, in_flight: InFlight) -> CachedToken:
        """Exchange on this thread, put the outcome into the state, and wake those that wait."""
        lock, state = self._process().lock, in_flight.state
        in_flight.thread_id = threading.get_ident()
        try:
            token = self._obtain(in_flight)
            with lock:
                state.complete(in_flight, token, self._timing)
                if in_flight.config is not None and state.token is token:
                    # The credentials may have been replaced while it exchanged.
                    _replace_credentials([state], in_flight.config, self._config.current)
            in_flight.token = token
            return token
        except DaypassError as error:
            problem = copied(error)
            with lock:
                left = state.fail(in_flight, problem, self._timing)
            if left:  # outside of the lock: a log handler may request a token
                what = f"a token could not be refreshed; the current one is used for {left:.0f} s"
                if in_flight.rejected is not None:
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

    def _join(self, key: Key, rejected: Token | None, *, in_background: bool) -> Ready | Own | Wait:
        process = self._process()
        with process.lock:
            joined = self._state(process, key).join(
                rejected, self._timing, self._config.has_changed, in_background=in_background
            )
        refresh = joined.refresh if isinstance(joined, Ready) else None
        if refresh is not None and not self._start(_REFRESH_THREAD, refresh):
            self._abandon(refresh)
            refresh.finish()
        return joined

    def _start(self, thread: str, in_flight: InFlight) -> bool:
        """Exchange on a daemon thread; return False if none can be started."""

        def run() -> None:
            try:
                self._carry_out(in_flight)
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

    def _wait(self, in_flight: InFlight) -> bool:
        return in_flight.wait(wait_seconds(self._timing))

    def _check(self, in_flight: InFlight, *, is_finished: bool) -> None:
        """Raise the error of an exchange that was waited for; abandon it if that took too long."""
        if not is_finished:
            self._abandon(in_flight)
        elif in_flight.error is not None:
            raise copied(in_flight.error)

    def _abandon(self, in_flight: InFlight) -> None:
        with self._process().lock:
            in_flight.state.abandon(in_flight)

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
            state = process.states[key] = KeyState(key)
        return state

    def _current_config(self, *, reload: bool = False) -> CredentialsConfig:
        before = self._config.current
        if not reload and not self._config.has_changed():
            return before
        after, process = self._config.reload(), self._process()
        with process.lock:
            _replace_credentials(process.states.values(), before, after)
        return after


def _replace_credentials(
    states: Iterable[KeyState], before: CredentialsConfig, after: CredentialsConfig
) -> None:
    if before is after:
        return
    is_other = _account(before) != _account(after)
    if is_other or before.token != after.token:
        for state in states:
            state.replace_credentials(is_other_identity=is_other)


def _account(config: CredentialsConfig) -> tuple[str, str, str]:
    return config.door.url, config.identity.namespace, config.identity.service_account
