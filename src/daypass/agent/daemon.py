"""The agent as a process: renewers on threads; signals, probes and systemd on the main thread."""

import queue
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import Enum

from daypass._core.net import HostPort
from daypass._core.server import StatusServer, health_routes
from daypass.agent.config import AgentConfig
from daypass.agent.file_renewer import AgentCredentials, FileRenewer, RenewerStatus
from daypass.agent.log import AgentEvent, AgentLog
from daypass.client.transport import Timing


class ServiceManager:
    """Notifies systemd, if it started this process (sd_notify(3))."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")

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
"""The interval for checking the credentials."""
GRACE_SECONDS = 2.0
"""How long to wait at the end for file writes and hooks in progress, but not for a door."""


class Message(Enum):
    """What a running agent reacts to. Signal handlers put these into its inbox."""

    STOP = "stop"
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
        self._listen = config.listen
        self._log = log
        self._timing = timing
        self._inbox = inbox
        self._credentials = AgentCredentials(environ, credentials or config.credentials, timing)
        self._manager = ServiceManager(environ)
        self._renewers = [
            FileRenewer(
                target,
                self._credentials,
                log,
                timing,
                renewed=lambda: inbox.put(Message.RENEWED),
            )
            for target in config.tokens
        ]
        self._seen: object = None
        self._is_ready = False

    def once(self) -> bool:
        """Renew every file once; return whether all renewals and hooks succeeded."""
        return all([renewer.renew() for renewer in self._renewers])

    def run(self) -> None:
        """Keep the files fresh until Message.STOP."""
        with ExitStack() as stack:
            where = ""
            if self._listen is not None:
                routes = health_routes(
                    metrics=lambda: metrics(self._statuses()),
                    why_not_ready=lambda: why_not_ready(self._statuses()),
                )
                server = StatusServer(self._listen, routes, "name another port with `listen`")
                stack.enter_context(server)
                where = f", health at http://{HostPort(*server.address)}"
            count = len(self._renewers)
            self._log.write(AgentEvent.STARTED, f"keeping {count} token files{where}", tokens=count)
            self._seen = self._credentials.identity()
            # Daemon threads: an exchange that hangs must not delay the exit. The next write
            # removes temporary files that it may leave.
            threads = [
                threading.Thread(target=renewer.run, name=renewer.target.path, daemon=True)
                for renewer in self._renewers
            ]
            for thread in threads:
                thread.start()
            try:
                self._handle_messages()
            finally:
                self._manager.notify("STOPPING=1")
                self._end(threads)
        self._log.write(AgentEvent.STOPPED, "stopped; the files are unchanged")

    def _handle_messages(self) -> None:
        while True:
            try:
                message = self._inbox.get(timeout=TICK_SECONDS)
            except queue.Empty:
                message = None
            if message is Message.STOP:
                return
            self._check_credentials()
            self._report()

    def _end(self, threads: list[threading.Thread]) -> None:
        for renewer in self._renewers:
            renewer.stop()
        ends = self._timing.clock.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, ends - self._timing.clock.monotonic()))

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
        for renewer in self._renewers:
            renewer.renew_now()

    def _report(self) -> None:
        statuses = self._statuses()
        good = sum(status.is_good for status in statuses)
        for renewer in self._renewers:
            renewer.report_expiry()
        if good == len(statuses) and not self._is_ready:
            self._is_ready = True
            self._log.write(AgentEvent.READY, "every token is good")
            self._manager.notify("READY=1")
        self._manager.notify(f"STATUS={good} of {len(statuses)} tokens are good")

    def _statuses(self) -> list[RenewerStatus]:
        return [renewer.status() for renewer in self._renewers]


# -- probes and Prometheus; they show no token

_METRICS: tuple[tuple[str, str, str, Callable[[RenewerStatus], float | None]], ...] = (
    ("renewals_total", "counter", "Token files renewed.", lambda status: status.renewals),
    ("failures_total", "counter", "Renewals that failed.", lambda status: status.failures),
    ("hook_failures_total", "counter", "Hooks that failed.", lambda status: status.hook_failures),
    ("valid", "gauge", "1 while the file holds a valid token.", lambda status: status.is_good),
    (
        "expiry_seconds",
        "gauge",
        "Seconds until the token in the file expires; negative after that.",
        lambda status: status.left_seconds,
    ),
)


def why_not_ready(statuses: Sequence[RenewerStatus]) -> str:
    """Return the files that hold no usable token."""
    return "\n".join(
        f"{status.path}: {'no token yet' if status.left_seconds is None else 'token expired'}"
        for status in statuses
        if not status.is_good
    )


def metrics(statuses: Sequence[RenewerStatus]) -> str:
    """Return all metrics in the text format of Prometheus."""
    lines = []
    for name, kind, description, value_of in _METRICS:
        full = f"daypass_agent_{name}"
        lines += [f"# HELP {full} {description}", f"# TYPE {full} {kind}"]
        for status in statuses:
            value = value_of(status)
            if value is not None:
                path = status.path.replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'{full}{{path="{path}"}} {round(value)}')
    return "\n".join(lines) + "\n"
