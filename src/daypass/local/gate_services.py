"""What runs next to Envoy for a gate on this machine: the watch and the authorizer.

The watch knows which credentials exist, and passes them on to Envoy and to the authorizer. A
LocalAuthorizer is an event loop on its own thread; Authorizers replaces it when the gate's settings
change or it ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import uvloop

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.loop_thread import LoopThread
from daypass.config import Config
from daypass.gate.authorizer.served_gate import ServedGate
from daypass.gate.authorizer.service import Listen, Service
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.controller import AtGate, Controller
from daypass.gate.watch.observer import CredentialObserver
from daypass.kube.connection import ConnectionConfig
from daypass.local.api_backend import ApiBackend
from daypass.local.envoy_instance import EnvoyInstance
from daypass.rules.credentials import Credential, Presence
from daypass.rules.published import Published

START_SECONDS = 30.0
STOP_SECONDS = 10.0
DRAIN_SECONDS = 2.0
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
    """Watches which credentials exist, and publishes them to the authorizers of this machine, and
    to its Envoy from `attach` on. It is the Publisher of its controller.
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
        authorizers: Authorizers,
        clock: Clock,
        *,
        parts: int,
        close_after_seconds: float,
    ) -> None:
        self.parts = parts
        self.pace_seconds = SHORTEST_PACE_SECONDS
        self._authorizers = authorizers
        self._authorizers.take_published(Published.closed(parts))
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
        return (self._envoy or self._authorizers).published

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
            envoy.publish(self._authorizers.published)

    def wait_for(self, credential: Credential) -> None:
        """Wait until tokens of a new credential pass. Raises DaypassError after some seconds."""
        deadline = self._clock.monotonic() + WAIT_SECONDS
        while not (
            self.published.find(credential, self._clock.unix()) is Presence.EXISTS
            and (self._envoy is None or self._envoy.has_loaded(credential.uid))
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
        return Published.closed(self.parts)

    def publish(self, number: int | None, wanted: Published) -> None:
        """Put a part in force or, without a number, the denials. Raises OSError."""
        published = self._authorizers.published.updated(number, wanted)
        # So that Envoy's main thread is not always busy, even if all parts change all the time.
        self.pace_seconds = SHORTEST_PACE_SECONDS + published.count * READ_SECONDS
        with self._publishing:
            self._authorizers.take_published(published)
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
        closed = len(self.published.closed_parts(self._clock.unix()))
        if not closed:
            return ""
        which = "every token" if closed == self.parts else "some tokens"
        return f"the gate refuses {which}: what it knows of credentials is out of date"


class LocalAuthorizer:
    """Answers for the gate of a config at the Unix socket `path` until `stop`.

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
        self.config = config
        name, self.gate = config.find_gate(config.local.gate_name)
        self.rules = config.rules_of(self.gate, issuer)
        self.path = path
        # Envoy has verified what it asks about.
        served = ServedGate(name, self.gate, self.rules, is_verified=True)
        self._service = Service(
            [served],
            connection,
            clock,
            write,
            checks_credentials=checks_credentials,
            verifier=None,
            close_after_seconds=config.watch.close_after_seconds,
        )
        self._thread = LoopThread("daypass-authorizer", self._serving(), uvloop.new_event_loop)
        try:
            self._thread.start(START_SECONDS)
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it works and can be reached; otherwise only a new one helps."""
        return (
            self._thread.is_alive
            and self._service.is_alive()
            # Without the folder a new one could not be reached either.
            and (self.path.exists() or not self.path.parent.exists())
        )

    @property
    def last_error(self) -> str:
        """Why the API server does not answer right now, or ""."""
        return self._service.last_error

    def take_published(self, published: Published) -> None:
        """Replace what is published. Safe from any thread."""
        self._thread.call(self._service.authorizer.take_published, published)

    def retire(self) -> None:
        """Stop it in the background, after the requests in progress."""
        threading.Thread(target=self._retire, daemon=True).start()

    def stop(self) -> None:
        self._thread.stop(STOP_SECONDS)
        self.path.unlink(missing_ok=True)

    def _retire(self) -> None:
        with suppress(TimeoutError, RuntimeError):
            self._thread.run(self._service.drain(DRAIN_SECONDS), STOP_SECONDS)
        self.stop()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        async with self._service.serving(Listen(path=str(self.path))):
            self.path.chmod(0o600)
            yield


class Authorizers:
    """Runs the authorizer that the gate's check needs: `socket_for`, then `keep_new` or `keep_old`.

    `published`: what they were given last. Audit events go to `folder`/AUDIT_FILE.
    """

    def __init__(
        self, backend: ApiBackend, folder: Path, clock: Clock, log: Callable[[str], None]
    ) -> None:
        self._backend = backend
        self._folder = folder
        self._clock = clock
        self._log = log
        self._current: LocalAuthorizer | None = None
        self._next: LocalAuthorizer | None = None
        self.published = Published.closed(1)
        self._lock = threading.Lock()
        self._count = 0

    def socket_for(self, config: Config, issuer: str) -> Path | None:
        """Return the socket of an authorizer for a config's gate; None if its check needs none.

        Raises KubeconfigError, ListenError.
        """
        _, gate = config.find_gate(config.local.gate_name)
        if not gate.is_reviewed:
            self._next = None
            return None
        rules, current = config.rules_of(gate, issuer), self._current
        if current is not None and (current.gate, current.rules) == (gate, rules):
            self._next = current
            return current.path
        self._count += 1
        path = self._folder / f"authorizer-{self._count}.sock"
        self._start(config, issuer, path)
        return path

    def keep_new(self) -> None:
        """Keep the authorizer of the last `socket_for`: Envoy uses it."""
        with self._lock:
            old, self._current = self._current, self._next
        if old is not None and old is not self._current:
            old.retire()

    def keep_old(self) -> None:
        """Keep the authorizer from before the last `socket_for`."""
        with self._lock:
            new, self._next = self._next, self._current
        if new is not None and new is not self._current:
            new.stop()

    def take_published(self, published: Published) -> None:
        """Replace what is published. Safe from any thread."""
        with self._lock:
            self.published = published
            for each in self._running():
                each.take_published(published)

    def check(self) -> str:
        """Start the current authorizer again if it has ended; return what does not work, or ""."""
        current = self._current
        if current is None:
            return ""
        if not current.is_alive:
            current.stop()
            try:
                current = self._start(current.config, current.rules.issuer, current.path)
                self._current = current
            except (OSError, DaypassError) as error:
                return f"the authorizer has ended, and cannot be started again: {error}"
            self._log("the authorizer had ended; a new one is up")
        return current.last_error

    def stop(self) -> None:
        for each in self._running():
            each.stop()

    def _start(self, config: Config, issuer: str, path: Path) -> LocalAuthorizer:
        connection, clock = self._backend.connection(), self._clock
        started = LocalAuthorizer(
            config, issuer, connection, path, clock, self._write, checks_credentials=True
        )
        with self._lock:
            self._next = started
            started.take_published(self.published)
        return started

    def _running(self) -> set[LocalAuthorizer]:
        return {each for each in (self._current, self._next) if each is not None}

    def _write(self, line: str) -> None:
        file = self._folder / AUDIT_FILE
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            if os.fstat(descriptor).st_size > LIMIT_AUDIT_BYTES:
                file.replace(file.with_suffix(".old"))
        finally:
            os.close(descriptor)
