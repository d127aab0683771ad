"""What runs next to Envoy for a gate on this machine: the revocation watch and the authorizer.

A LocalAuthorizer is an event loop on its own thread; Authorizers replaces it when the gate's
settings change or it ends.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import uvloop

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError, UsageError
from daypass.config import Config, Gate
from daypass.gate.authorizer.service import Listen, ReviewSettings, Service
from daypass.gate.revocation.controller import RevocationController
from daypass.gate.revocation.publishers import LocalPublisher
from daypass.gate.revocation.state_store import FileStore
from daypass.gate.revocation.watcher import RevocationWatcher, Scope
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.local.api_backend import ApiBackend
from daypass.render.envoy.filters import RevocationSnapshot

STATE_FILE = "revocations.json"
UNWATCHED = (
    "this gate does not see revocations: a token passes until it expires\n"
    "with --kubeconfig FILE, of a user who may watch Secrets, ServiceAccounts and ConfigMaps, "
    "it is refused within a second of its revocation"
)
RECORD_LOST = (
    f"there is no record of what was revoked before ({STATE_FILE} in the state folder)\n"
    "with check jwt and both, tokens issued before this start are refused; "
    "clients get new ones automatically"
)
START_SECONDS = 30.0
STOP_SECONDS = 10.0
DRAIN_SECONDS = 2.0
AUDIT_FILE = "gate-audit.log"
LIMIT_AUDIT_BYTES = 16 * 1024 * 1024


class Revocations:
    """A watch of revocations, if there is a user for it; `log` reports its state as lines.

    Raises RecordError.
    """

    def __init__(
        self,
        config: Config,
        backend: ApiBackend,
        clock: Clock,
        log: Callable[[str], None],
        *,
        state: Path | None,
        is_first_start: bool,
        close_after_seconds: float,
    ) -> None:
        self._log = log
        self._reported_problems = ""
        self._reported_closed = ""
        self._controller: RevocationController | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        connection = backend.connection()
        if connection is None:
            log(UNWATCHED)
            return
        self._cluster = Cluster(connection)
        self._publisher = LocalPublisher(is_first_start=is_first_start or state is None)
        self._controller = RevocationController(
            watcher=RevocationWatcher(
                self._cluster, clock, Scope(denials_namespace=config.door.namespace),
                longest_lifetime_seconds=config.longest_lifetime_seconds,
                close_after_seconds=close_after_seconds,
            ),
            store=FileStore(None if state is None else state / STATE_FILE),
            publisher=self._publisher,
            lease=None,
            keys=None,
            clock=clock,
            log=lambda event, **fields: None,
            config=config,
            close_after_seconds=close_after_seconds,
        )  # fmt: skip
        if self._controller.take_over():
            log(RECORD_LOST)

    def first(self) -> RevocationSnapshot | None:
        """Return the list for the first request; None without a watch. Without a complete list
        everything is refused. After a lost record this takes up to a second.
        """
        if self._controller is None:
            return None
        self._controller.sync()
        self._controller.reconcile(wait=True)
        return self._controller.published or RevocationSnapshot(closed=True)

    def start(self, take: Callable[[RevocationSnapshot], None]) -> None:
        """Start watching in a background thread; `take` gets each list after the first one."""
        if self._controller is not None:
            self._publisher.take = take
            self._thread = threading.Thread(target=self._run, args=[self._controller], daemon=True)
            self._thread.start()

    def report(self) -> None:
        """Report what has changed."""
        if self._controller is None:
            return
        problems = "\n".join(self._controller.problems().values())
        if problems != self._reported_problems:
            self._reported_problems = problems
            self._log(
                f"the gate does not see revocations right now\n{problems}"
                if problems
                else "the gate sees revocations again"
            )
        closed = ""
        if self._controller.watcher.is_closed:
            closed = "the gate refuses every token: it has seen no revocations for too long"
        elif self._controller.is_expired:
            closed = "with check jwt and both the gate refuses every token: its list is out of date"
        if closed != self._reported_closed:
            self._reported_closed = closed
            self._log(closed or "the gate is open again: it sees revocations")

    def set_longest_lifetime(self, seconds: int) -> None:
        """Set the longest lifetime of tokens."""
        if self._controller is not None:
            self._controller.watcher.set_longest_lifetime(seconds)

    def stop(self) -> None:
        """Stop without waiting for the watches; nothing is published any more."""
        if self._controller is None:
            return
        self._controller.watcher.stop()
        self._stopped.set()
        self._controller.watcher.changed.set()
        if self._thread is None:
            self._cluster.close()

    def _run(self, controller: RevocationController) -> None:
        informers = controller.watcher.informers
        controller.run(self._stopped)
        for informer in informers:
            informer.join()
        self._cluster.close()


class LocalAuthorizer:
    """Listens at the Unix socket `path` until `stop`.

    `needs_list`: it refuses every token until `take_revoked` is called. `write` gets audit events,
    one line each, on the thread. Raises KubeconfigError, ListenError.
    """

    def __init__(
        self,
        settings: ReviewSettings,
        connection: ConnectionConfig,
        path: Path,
        clock: Clock,
        write: Callable[[str], None],
        *,
        needs_list: bool,
    ) -> None:
        self.settings = settings
        self.path = path
        self._loop = uvloop.new_event_loop()
        self._service = Service(settings, connection, clock, write, needs_list=needs_list)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._run(self._start(), START_SECONDS)
        except BaseException:
            self.stop()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it works and can be reached; otherwise only a new one helps."""
        return (
            self._thread.is_alive()
            and self._service.is_alive()
            # Without the folder a new one could not be reached either.
            and (self.path.exists() or not self.path.parent.exists())
        )

    @property
    def last_error(self) -> str:
        """Why the API server does not answer right now, or ""."""
        return self._service.authorizer.last_error

    def take_revoked(self, revoked: RevocationSnapshot) -> None:
        """Replace the revocation list. Safe from any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._service.authorizer.take_revoked, revoked)

    def retire(self) -> None:
        """Stop it in the background, after the requests in progress."""
        threading.Thread(target=self._retire, daemon=True).start()

    def stop(self) -> None:
        """Stop it."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            with suppress(TimeoutError):
                self._run(self._service.stop(), STOP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
        else:
            with suppress(TimeoutError):
                work = asyncio.wait_for(self._stop_dead(), STOP_SECONDS)
                self._loop.run_until_complete(work)
        if not self._thread.is_alive():
            self._loop.close()
        self.path.unlink(missing_ok=True)

    def _retire(self) -> None:
        with suppress(TimeoutError, RuntimeError):
            self._run(self._service.drain(DRAIN_SECONDS), STOP_SECONDS)
        self.stop()

    async def _stop_dead(self) -> None:
        """Close the sockets of a thread that died, where requests are waiting."""
        await self._service.stop()
        await self._service.stop()  # again, for requests that began meanwhile
        await asyncio.sleep(0)

    async def _start(self) -> None:
        await self._service.start(Listen(path=str(self.path)))
        self.path.chmod(0o600)

    def _run(self, work: Coroutine[None, None, None], seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)


class Authorizers:
    """Runs the authorizer that the gate's check needs: `socket_for`, then `keep_new` or `keep_old`.

    Audit events go to `folder`/AUDIT_FILE.
    """

    def __init__(self, backend: ApiBackend, folder: Path, clock: Clock) -> None:
        self._backend = backend
        self._folder = folder
        self._clock = clock
        self._current: LocalAuthorizer | None = None
        self._next: LocalAuthorizer | None = None
        self._revoked: RevocationSnapshot | None = None
        self._lock = threading.Lock()
        self._count = 0
        self._reported = ""

    def socket_for(self, config: Config, gate: Gate, issuer: str) -> Path | None:
        """Return the socket of an authorizer for this gate; None if its check needs none.

        Raises UsageError if there is no user for TokenReviews, KubeconfigError, ListenError.
        """
        if gate.check == "jwt":
            self._next = None
            return None
        settings = ReviewSettings.of(config, gate, issuer=issuer)
        if self._current is not None and self._current.settings == settings:
            self._next = self._current
            return self._next.path
        self._count += 1
        path = self._folder / f"authorizer-{self._count}.sock"
        self._start(settings, path)
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

    def take_revoked(self, revoked: RevocationSnapshot | None) -> None:
        """Replace the revocation list. Safe from any thread."""
        if revoked is None:
            return
        with self._lock:
            self._revoked = revoked
            for each in self._running():
                each.take_revoked(revoked)

    def check(self) -> str:
        """Start the current authorizer again if it has ended; return what there is to report."""
        last_error = "" if self._current is None else self._current.last_error
        if self._current is not None and not self._current.is_alive:
            self._current.stop()
            try:
                self._start(self._current.settings, self._current.path, is_current=True)
            except (OSError, DaypassError) as error:
                last_error = f"the authorizer has ended, and cannot be started again: {error}"
            else:
                self._reported = ""
                return "the authorizer had ended; a new one is up"
        if last_error == self._reported:
            return ""
        self._reported = last_error
        return last_error or "the API server answers the gate again"

    def stop(self) -> None:
        """Stop all authorizers."""
        for each in self._running():
            each.stop()

    def _start(self, settings: ReviewSettings, path: Path, *, is_current: bool = False) -> None:
        connection = self._backend.connection()
        if connection is None:
            raise UsageError(
                "gate.check review and both need a user for TokenReviews, and none is named",
                "--kubeconfig FILE, of a user who may create tokenreviews "
                "(ClusterRole system:auth-delegator)",
            )
        with self._lock:
            needs_list = self._revoked is not None
        started = LocalAuthorizer(
            settings, connection, path, self._clock, self._write, needs_list=needs_list
        )
        with self._lock:
            self._next = started
            if is_current:
                self._current = started
            if self._revoked is not None:
                started.take_revoked(self._revoked)

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
