"""The agent as a process: renewers on threads; signals, reloads and systemd on the main thread."""

import os
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import Enum

from daypass._core.errors import DaypassError
from daypass._core.net import HostPort
from daypass._core.server.status_server import StatusServer
from daypass.agent.config import AgentConfig, TokenFile
from daypass.agent.file_renewer import AgentCredentials, FileRenewer, RenewerStatus
from daypass.agent.health import routes
from daypass.agent.log import AgentEvent, AgentLog
from daypass.client.transport import Timing


class ServiceManager:
    """Notifies systemd, if it started this process (sd_notify(3))."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds: float | None = None
        """The watchdog interval, or None."""
        interval, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        if interval.isdigit() and int(interval) and pid in ("", str(os.getpid())):
            self.watchdog_seconds = int(interval) / 1_000_000

    def notify(self, *lines: str) -> None:
        """Send assignments such as READY=1. Errors of the socket are ignored."""
        if self._address[:1] not in ("/", "@"):
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return


TICK_SECONDS = 2.0
"""The interval for checking the credentials and for notifying the watchdog."""
GRACE_SECONDS = 2.0
"""How long to wait at the end for file writes and hooks in progress, but not for a door."""


class Message(Enum):
    """What a running agent reacts to. Signal handlers put these into its inbox."""

    STOP = "stop"
    RELOAD = "reload"
    RENEWED = "renewed"


Inbox = queue.SimpleQueue[Message]


class Agent:
    """Keeps the files of a config fresh.

    `credentials`: a file that takes precedence over the config's. `inbox`: what `run` reads.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        credentials: str | None,
        environ: Mapping[str, str],
        log: AgentLog,
        timing: Timing,
        inbox: Inbox,
    ) -> None:
        self._config = config
        self._credentials_file = credentials
        self._log = log
        self._timing = timing
        self._inbox = inbox
        self._credentials = AgentCredentials(environ, credentials or config.credentials, timing)
        self._manager = ServiceManager(environ)
        watchdog = self._manager.watchdog_seconds
        self._tick_seconds = min(TICK_SECONDS, watchdog / 3) if watchdog else TICK_SECONDS
        self._renewers: dict[TokenFile, FileRenewer] = {}
        self._threads: dict[TokenFile, threading.Thread] = {}
        self._seen: object = None
        self._is_ready = False

    def once(self) -> bool:
        """Renew every file once; return whether all renewals and hooks succeeded."""
        return all([self._renewer(target, 0).renew() for target in self._config.tokens])

    def run(self, load: Callable[[], AgentConfig]) -> None:
        """Keep the files fresh until Message.STOP. `load` returns the config for Message.RELOAD."""
        with ExitStack() as stack:
            where = ""
            if self._config.listen is not None:
                server = StatusServer(
                    self._config.listen, routes(self._statuses), "name another port with `listen`"
                )
                stack.enter_context(server)
                where = f", health at http://{HostPort(*server.address)}"
            count = len(self._config.tokens)
            self._log.write(AgentEvent.STARTED, f"keeping {count} token files{where}", tokens=count)
            self._seen = self._credentials.identity()
            self._keep(self._config.tokens, self._config.stagger_seconds)
            try:
                self._handle_messages(load)
            finally:
                self._manager.notify("STOPPING=1")
                self._end(list(self._renewers))
        self._log.write(AgentEvent.STOPPED, "stopped; the files are unchanged")

    def _handle_messages(self, load: Callable[[], AgentConfig]) -> None:
        while True:
            try:
                message = self._inbox.get(timeout=self._tick_seconds)
            except queue.Empty:
                message = None
            if message is Message.STOP:
                return
            if message is Message.RELOAD:
                self._reload(load)
            self._check_credentials()
            self._report()

    def _reload(self, load: Callable[[], AgentConfig]) -> None:
        now = int(self._timing.clock.monotonic() * 1_000_000)
        self._manager.notify("RELOADING=1", f"MONOTONIC_USEC={now}")  # until READY=1
        try:
            config = load()
            if config.listen != self._config.listen:
                raise DaypassError("`listen` cannot change while the agent runs", "restart it")
        except DaypassError as error:
            file = self._config.file
            fact = f"{file} is not used: {error.fact.removeprefix(f'{file}: ')}"
            parts = (fact, "everything stays as it was", error.hint)
            message = "; ".join(filter(None, parts)).replace("\n", "; ")
            self._log.write(AgentEvent.RELOAD_REFUSED, message)
        else:
            self._config = config
            self._credentials.path = self._credentials_file or config.credentials
            self._end([target for target in self._renewers if target not in config.tokens])
            self._keep(config.tokens, 0)
            count = len(config.tokens)
            self._log.write(AgentEvent.RELOADED, f"keeping {count} token files", tokens=count)
        if self._is_ready:
            self._manager.notify("READY=1")

    def _keep(self, targets: tuple[TokenFile, ...], stagger_seconds: int) -> None:
        for target in targets:
            if target not in self._renewers:
                renewer = self._renewers[target] = self._renewer(target, stagger_seconds)
                # A daemon thread: an exchange that hangs must not delay the exit. The next write
                # removes temporary files that it may leave.
                thread = threading.Thread(target=renewer.run, name=target.path, daemon=True)
                self._threads[target] = thread
                thread.start()

    def _end(self, targets: list[TokenFile]) -> None:
        for target in targets:
            self._renewers.pop(target).stop()
        ends = self._timing.clock.monotonic() + GRACE_SECONDS
        for target in targets:
            self._threads.pop(target).join(max(0.0, ends - self._timing.clock.monotonic()))

    def _renewer(self, target: TokenFile, stagger_seconds: int) -> FileRenewer:
        return FileRenewer(
            target,
            self._credentials,
            self._log,
            self._timing,
            stagger_seconds=stagger_seconds,
            renewed=lambda: self._inbox.put(Message.RENEWED),
        )

    def _check_credentials(self) -> None:
        """Renew all files if the credentials have changed.

        The Secret that the old tokens are bound to is about to be deleted, which revokes them.
        """
        found = self._credentials.identity()
        if found is None or found == self._seen:
            return
        changed, self._seen = self._seen is not None, found
        if changed:
            self._log.write(AgentEvent.CREDENTIALS_CHANGED, "the credentials are new: renewing all")
        for renewer in self._renewers.values():
            renewer.renew_now()

    def _report(self) -> None:
        statuses = self._statuses()
        good = sum(status.is_good for status in statuses)
        for renewer in self._renewers.values():
            renewer.report_expiry()
        if good == len(statuses) and not self._is_ready:
            self._is_ready = True
            self._log.write(AgentEvent.READY, "every token is good")
            self._manager.notify("READY=1")
        self._manager.notify("WATCHDOG=1", f"STATUS={good} of {len(statuses)} tokens are good")

    def _statuses(self) -> list[RenewerStatus]:
        return [renewer.status() for renewer in list(self._renewers.values())]
