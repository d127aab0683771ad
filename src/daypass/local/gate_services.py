"""What runs next to Envoy for a gate on this machine: the watch and the authorizer.

The watch knows which credentials exist, and passes them on to Envoy and to the authorizer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import uvloop

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.server.loop_thread import LoopThread
from daypass.config import Config
from daypass.gate.authorizer.destinations import ServedGate
from daypass.gate.authorizer.service import Listen, Service
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.controller import AtGate, Controller
from daypass.gate.watch.observer import CredentialObserver
from daypass.kube.connection import ConnectionConfig
from daypass.local.envoy_instance import EnvoyInstance
from daypass.rules.published import Presence, Published

START_SECONDS = 30.0
STOP_SECONDS = 10.0
SHORTEST_PACE_SECONDS = 0.05
READ_SECONDS = 5e-6
"""Half of what Envoy's main thread takes for a credential in a file that has changed: measured."""
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
    there is one, and to its Envoy from `attach` on. It is the Publisher of its controller.
    """

    clock_ahead_seconds = 0.0
    lease = None
    """It is the only one."""
    keys = None
    """The supervisor gives them to Envoy."""
    gates: Mapping[str, AtGate] = MappingProxyType({})

    def __init__(
        self,
        config: Config,
        connection: ConnectionConfig,
        authorizer: LocalAuthorizer | None,
        clock: Clock,
        *,
        shards: int,
        close_after_seconds: float,
    ) -> None:
        self.shards = shards
        self.pace_seconds = SHORTEST_PACE_SECONDS
        self._authorizer = authorizer
        self._given = Published.closed(shards)
        self._envoy: EnvoyInstance | None = None
        self._publishing = threading.Lock()
        self._clock = clock
        self._stopped = threading.Event()
        self._observer = CredentialObserver(
            connection,
            clock,
            home=config.door.namespace,
            per_namespace=config.watch.credentials_per_namespace,
            accounts_too=config.accepts_unbound,
            close_after_seconds=close_after_seconds,
        )
        self._controller = Controller(
            self._observer, self, clock, lambda event, **fields: None, close_after_seconds
        )
        run = self._controller.run
        self._thread = threading.Thread(target=run, args=[self._stopped], daemon=True)

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

    def take_over(self) -> Published:
        """Return that nothing is in force for sure: the caller publishes all of it again."""
        return Published.closed(self.shards)

    def publish(self, number: int | None, wanted: Published) -> None:
        """Put a shard in force or, without a number, the denials. Raises OSError."""
        published = self._given.updated(number, wanted)
        # So that Envoy's main thread is not always busy, even if all shards change all the time.
        self.pace_seconds = SHORTEST_PACE_SECONDS + published.count * READ_SECONDS
        with self._publishing:
            self._given = published
            if self._authorizer is not None:
                self._authorizer.take_published(published)
            if self._envoy is not None:
                self._envoy.publish(published)

    def publish_keys(self, keys: SigningKeys) -> None:
        """Do nothing: it has none."""

    def check(self) -> None:
        """Do nothing: the files are in a private folder."""

    def warn(self, namespace: str) -> None:
        """Do nothing: `report` names it."""

    def _problems(self) -> str:
        return "\n".join(self._controller.problems().values())

    def _closed(self) -> str:
        closed = len(self.published.closed_shards(self._clock.unix()))
        if not closed:
            return ""
        which = "every token" if closed == self.shards else "some tokens"
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
        self._gate = config.find_gate(config.local.gate_name)
        self._rules = config.rules_of(self._gate[1], issuer)
        self._make_service = partial(
            Service,
            connection=connection,
            clock=clock,
            write=write,
            checks_credentials=checks_credentials,
            verifier=None,
            close_after_seconds=config.watch.close_after_seconds,
        )
        self._published: Published | None = None
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        # Envoy has verified what it asks about.
        service = self._make_service([ServedGate(*self._gate, self._rules, is_verified=True)])
        thread = LoopThread("daypass-authorizer", self._serving(service), uvloop.new_event_loop)
        try:
            thread.start(START_SECONDS)
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._service, self._thread = service, thread
            if self._published is not None:
                thread.call(service.authorizer.take_published, self._published)

    def take_published(self, published: Published) -> None:
        """Replace what is published. Safe from any thread."""
        with self._lock:
            self._published = published
            self._thread.call(self._service.authorizer.take_published, published)

    def check(self, log: Callable[[str], None]) -> str:
        """Start it again if it has ended; return what does not work, or ""."""
        if not self._is_alive():
            self.stop()
            try:
                self._start()
            except (OSError, DaypassError) as error:
                return f"the authorizer has ended, and cannot be started again: {error}"
            log("the authorizer had ended; a new one is up")
        return self._service.last_error

    def stop(self) -> None:
        self._thread.stop(STOP_SECONDS)
        self.path.unlink(missing_ok=True)

    def _is_alive(self) -> bool:
        """Return whether it works and can be reached; otherwise only a new start helps."""
        return (
            self._thread.is_alive
            and self._service.is_alive()
            # Without the folder a new one could not be reached either.
            and (self.path.exists() or not self.path.parent.exists())
        )

    @asynccontextmanager
    async def _serving(self, service: Service) -> AsyncIterator[None]:
        async with service.serving(Listen(path=str(self.path))):
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
