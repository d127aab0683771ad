"""What runs next to Envoy for a gate on this machine: the watch and the authorizer.

The watch knows which credentials exist, and passes them on to Envoy and to the authorizer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.threads import LoopThread
from daypass.config import Config
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.authorizer.service import Listen, Service
from daypass.gate.watch.observer import CredentialObserver
from daypass.gate.watch.schedule import (
    PACE_SECONDS,
    TICK_SECONDS,
    ShardsPlanner,
    Turns,
    steps_between,
)
from daypass.kube.connection import ConnectionConfig
from daypass.local.envoy import EnvoyInstance
from daypass.rules.published import Presence, Published

START_SECONDS = 30.0
STOP_SECONDS = 10.0
WAIT_SECONDS = 10.0
AUDIT_FILE = "gate-audit.log"
LIMIT_AUDIT_BYTES = 16 * 1024 * 1024


class ProblemLog:
    """Logs a problem as lines for the user, when it changes and when it is over."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._logged: dict[str, str] = {}

    def report(self, problem: str, over: str) -> None:
        """Report what does not work, or "". `over`: the line for the end, of this problem alone."""
        if problem != self._logged.get(over, ""):
            self._logged[over] = problem
            self._log(problem or over)


class CredentialWatch:
    """Watches which credentials exist, and publishes them to the authorizer of this machine, if
    there is one, and to its Envoy from `attach` on.
    """

    def __init__(
        self,
        config: Config,
        connection: ConnectionConfig,
        authorizer: LocalAuthorizer | None,
        clock: Clock,
        *,
        shards: int,
    ) -> None:
        self._shards = shards
        self._authorizer = authorizer
        self._given = Published.closed(shards)
        self._envoy: EnvoyInstance | None = None
        self._publishing = threading.Lock()
        self._clock = clock
        self._stopped = threading.Event()
        self._last_error = ""
        self._is_open = False
        self._close_after_seconds = config.watch.close_after_seconds
        self._planner = ShardsPlanner(shards, self._close_after_seconds)
        self._turns = Turns()
        self._observer = CredentialObserver(
            connection,
            clock,
            gate_namespace=config.door.namespace,
            per_namespace=config.watch.credentials_per_namespace,
            accounts_too=config.accepts_unbound,
            close_after_seconds=self._close_after_seconds,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def published(self) -> Published:
        """What is in force at all of them."""
        return self._given if self._envoy is None else self._envoy.published

    def start(self) -> None:
        """Watch in the background. Return once the first set is published, or it turns out that
        this takes longer: until then, tokens are refused.
        """
        self._thread.start()
        deadline = self._clock.monotonic() + START_SECONDS
        while self._closed() and self._clock.monotonic() < deadline:
            if self._observer.observation().listed_at is None and self._problems():
                return
            time.sleep(0.01)

    def attach(self, envoy: EnvoyInstance) -> None:
        """Publish to this Envoy, too. Raises OSError."""
        with self._publishing:
            self._envoy = envoy
            envoy.publish(self._given)

    def wait_for(self, credential: str) -> None:
        """Wait until tokens of a new credential pass. Raises DaypassError after some seconds."""
        deadline = self._clock.monotonic() + WAIT_SECONDS
        while not (
            self.published.find(credential, self._clock.unix()) is Presence.EXISTS
            and (self._envoy is None or self._envoy.has_loaded(credential))
        ):
            if self._clock.monotonic() > deadline:
                raise DaypassError("the gate does not see a new credential", self._problems())
            time.sleep(0.01)

    def report(self, log: ProblemLog) -> None:
        """Report what does not work right now."""
        problems = self._problems()
        log.report(
            problems and f"the gate does not see which credentials exist\n{problems}",
            "the gate sees again which credentials exist",
        )
        log.report(self._closed(), "the gate is open again: it knows which credentials exist")

    def stop(self) -> None:
        """Stop without waiting for the API server; nothing is published any more."""
        self._stopped.set()
        self._observer.changed.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        self._observer.start()
        try:
            while not self._stopped.is_set():
                # Before anything is read: what changes from here on causes another round.
                self._observer.changed.clear()
                if self.publish():
                    self._stopped.wait(PACE_SECONDS)
                else:
                    self._observer.changed.wait(TICK_SECONDS)
        finally:
            self._observer.stop()

    def publish(self) -> bool:
        """Publish what has changed, each shard at most once and as many as the pace allows.

        Returns whether something was written.
        """
        try:
            is_changed = self._publish_round()
        except (OSError, DaypassError) as error:
            # Without the file, which may be another one in each round: it is reported once.
            why = getattr(error, "strerror", None) or error
            self._last_error = f"the credentials could not be published: {why}"
            return False
        self._last_error = ""
        return is_changed

    def _publish_round(self) -> bool:
        began, is_changed = self._clock.monotonic(), False
        self._turns.begin()
        while not is_changed or self._clock.monotonic() < began + PACE_SECONDS:
            # Observed anew for each shard: a removal must not wait for the end of the round.
            observation, now = self._observer.observation(), self._clock.monotonic()
            if not (self._is_open or observation.is_settled(now)):
                break
            now_unix = self._clock.unix()
            wanted = self._planner.wanted(observation, now=now, now_unix=now_unix)
            steps = steps_between(
                self.published,
                wanted,
                now_unix=now_unix,
                close_after_seconds=self._close_after_seconds,
            )
            turn = self._turns.next(steps)
            if turn is None:
                break
            number, _ = turn
            self._put(self._given.updated(number, wanted))
            self._is_open = True
            is_changed = True
        return is_changed

    def _put(self, published: Published) -> None:
        """Put this in force. Raises OSError."""
        with self._publishing:
            self._given = published
            if self._authorizer is not None:
                self._authorizer.take_published(published)
            if self._envoy is not None:
                self._envoy.publish(published)

    def _problems(self) -> str:
        found = (self._observer.last_error, self._last_error)
        return "\n".join(filter(None, (*found, *self._observer.observation().problems().values())))

    def _closed(self) -> str:
        closed = len(self.published.closed_shards(self._clock.unix()))
        if not closed:
            return ""
        which = "every token" if closed == self._shards else "some tokens"
        return f"the gate refuses {which}: what it knows of credentials is out of date"


class LocalAuthorizer:
    """Answers for the gate of a config at the Unix socket `path` until `stop`, in an event loop on
    a thread of its own.

    `checks_credentials`: it refuses every token until `take_published` is called. `write` gets
    audit events, one line each, on the thread. Raises KubeconfigError, ListenError.
    """

    def __init__(
        self,
        config: Config,
        issuer: str,
        connection: ConnectionConfig,
        path: Path,
        clock: Clock,
        write: Callable[[str], None],
        *,
        checks_credentials: bool,
    ) -> None:
        self.path = path
        name, gate = config.find_gate(None)
        # Envoy has verified what it asks about.
        served = ServedGate(name, gate, config.rules_of(gate, issuer), is_verified=True)
        self._service = Service(
            [served],
            connection=connection,
            clock=clock,
            write=write,
            checks_credentials=checks_credentials,
            verifier=None,
            close_after_seconds=config.watch.close_after_seconds,
        )
        self._thread = LoopThread("daypass-authorizer", self._serving(), uvloop.new_event_loop)
        self._thread.start(START_SECONDS)

    def take_published(self, published: Published) -> None:
        """Replace what is published. Safe from any thread."""
        self._thread.call(self._service.authorizer.take_published, published)

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        if self._thread.is_alive and self._service.is_alive() and self.path.exists():
            return self._service.last_error
        return f"the authorizer has ended, and the gate refuses tokens: restart `{command('up')}`"

    def stop(self) -> None:
        """Answer no more."""
        self._thread.stop(STOP_SECONDS)
        self.path.unlink(missing_ok=True)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        async with self._service.serving(Listen(path=str(self.path))):
            self.path.chmod(0o600)
            yield


def append_audit(folder: Path, line: str) -> None:
    """Append an audit event to `folder`/AUDIT_FILE."""
    file = folder / AUDIT_FILE
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
        if os.fstat(descriptor).st_size > LIMIT_AUDIT_BYTES:
            file.replace(file.with_suffix(".old"))
    finally:
        os.close(descriptor)
