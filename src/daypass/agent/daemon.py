"""Telling systemd how we are (sd_notify(3)): a datagram to the socket that it names.

The agent as a process: keepers on threads, and what comes from outside, on the main thread.
"""

import os
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import Enum

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.agent.config import AgentConfig, TokenFile
from daypass.agent.file_renewer import FileRenewer, RenewerStatus, TokenRequester
from daypass.agent.health import Health
from daypass.agent.log import AgentEvent, AgentLog
from daypass.client.exchange import Timing
from daypass.client.token import CachedToken


class ServiceManager:
    """Who started us, if it wants to be told; else nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds: float | None = None
        """Within which it wants a sign of life, or None."""
        interval, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        if interval.isdigit() and int(interval) and pid in ("", str(os.getpid())):
            self.watchdog_seconds = int(interval) / 1_000_000

    def tell(self, *lines: str) -> None:
        """Send assignments such as READY=1. A service manager that is gone is no error."""
        if self._address[:1] not in ("/", "@"):
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return

    def tell_reloading(self, clock: Clock) -> None:
        """What Type=notify-reload waits for; READY=1 ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1_000_000)}")


TICK_SECONDS = 2.0
"""So often the credentials are looked at, and systemd is given a sign of life at least."""
GRACE_SECONDS = 2.0
"""What is under way at the end is given so long: placing a file or telling somebody, not a door."""


class Message(Enum):
    """What a running agent can be told. A queue of them takes what a signal handler puts in."""

    STOP = "stop"
    RELOAD = "reload"
    RENEWED = "renewed"


Inbox = queue.SimpleQueue[Message]


class Agent:
    """Keeps the files of a config.

    `credentials`: a file that counts instead of the config's; `inbox`: what `run` listens to.
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
        self._credentials = credentials
        self._environ = environ
        self._log = log
        self._timing = timing
        self._inbox = inbox
        self._holder = self._hold(config)
        self._manager = ServiceManager(environ)
        watchdog = self._manager.watchdog_seconds
        self._tick_seconds = min(TICK_SECONDS, watchdog / 3) if watchdog else TICK_SECONDS
        self._keepers: dict[TokenFile, FileRenewer] = {}
        self._threads: dict[TokenFile, threading.Thread] = {}
        self._seen: object = None
        self._is_ready = False

    def once(self) -> bool:
        """Renew every file once; whether all went well, hooks included."""
        return all([self._keeper(target, 0).renew() for target in self._config.tokens])

    def run(self, load: Callable[[], AgentConfig]) -> None:
        """Keep the files until Message.STOP. `load` reads the config anew, for Message.RELOAD."""
        with ExitStack() as stack:
            where = ""
            if self._config.listen is not None:
                health = stack.enter_context(Health(self._config.listen, self._statuses))
                where = f", health at http://{_shown(health.address)}"
            count = len(self._config.tokens)
            self._log.tell(AgentEvent.STARTED, f"keeping {count} token files{where}", tokens=count)
            self._seen = self._holder.identity()
            self._keep(self._config.tokens, self._config.stagger_seconds)
            try:
                self._listen_to(load)
            finally:
                self._manager.tell("STOPPING=1")
                self._end(list(self._keepers))
        self._log.tell(AgentEvent.STOPPED, "stopped; the files stay as they are")

    def _listen_to(self, load: Callable[[], AgentConfig]) -> None:
        while True:
            try:
                message = self._inbox.get(timeout=self._tick_seconds)
            except queue.Empty:
                message = None
            if message is Message.STOP:
                return
            if message is Message.RELOAD:
                self._reload(load)
            self._follow_credentials()
            self._report()

    def _reload(self, load: Callable[[], AgentConfig]) -> None:
        self._manager.tell_reloading(self._timing.clock)
        try:
            config = load()
            if config.listen != self._config.listen:
                raise DaypassError("`listen` cannot change while the agent runs", "restart it")
        except DaypassError as error:
            self._log.tell(
                AgentEvent.RELOAD_REFUSED,
                f"all stays as it was: {str(error).replace(chr(10), '; ')}",
            )
        else:
            self._config, self._holder = config, self._hold(config)
            self._end([target for target in self._keepers if target not in config.tokens])
            self._keep(config.tokens, 0)
            count = len(config.tokens)
            self._log.tell(AgentEvent.RELOADED, f"keeping {count} token files", tokens=count)
        if self._is_ready:
            self._manager.tell("READY=1")

    def _keep(self, targets: tuple[TokenFile, ...], stagger_seconds: int) -> None:
        for target in targets:
            if target not in self._keepers:
                keeper = self._keepers[target] = self._keeper(target, stagger_seconds)
                # A daemon: an exchange that hangs does not hold up the end, and what it would
                # leave behind of a file is swept by the next placing.
                thread = threading.Thread(target=keeper.run, name=target.path, daemon=True)
                self._threads[target] = thread
                thread.start()

    def _end(self, targets: list[TokenFile]) -> None:
        for target in targets:
            self._keepers.pop(target).stop()
        ends = self._timing.clock.monotonic() + GRACE_SECONDS
        for target in targets:
            self._threads.pop(target).join(max(0.0, ends - self._timing.clock.monotonic()))

    def _keeper(self, target: TokenFile, stagger_seconds: int) -> FileRenewer:
        return FileRenewer(
            target,
            self._ask,
            self._log,
            self._timing,
            stagger_seconds=stagger_seconds,
            renewed=lambda: self._inbox.put(Message.RENEWED),
            variables=lambda: self._holder.variables,
        )

    def _ask(self, audience: str | None, lifetime_seconds: int | None) -> CachedToken:
        return self._holder.ask(audience, lifetime_seconds)

    def _hold(self, config: AgentConfig) -> TokenRequester:
        return TokenRequester(self._environ, self._credentials or config.credentials, self._timing)

    def _follow_credentials(self) -> None:
        """Renew all at once where the credentials are others: the Secret that the old tokens hang
        on is about to be deleted, and they end with it."""
        found = self._holder.identity()
        if found is None or found == self._seen:
            return
        changed, self._seen = self._seen is not None, found
        if changed:
            self._log.tell(AgentEvent.CREDENTIALS_CHANGED, "the credentials are new: renewing all")
        for keeper in self._keepers.values():
            keeper.renew_now()

    def _report(self) -> None:
        statuses = self._statuses()
        good = sum(status.is_good for status in statuses)
        for keeper in self._keepers.values():
            keeper.tell_end()
        if good == len(statuses) and not self._is_ready:
            self._is_ready = True
            self._log.tell(AgentEvent.READY, "every token is good")
            self._manager.tell("READY=1")
        self._manager.tell("WATCHDOG=1", f"STATUS={good} of {len(statuses)} tokens are good")

    def _statuses(self) -> list[RenewerStatus]:
        return [keeper.status() for keeper in list(self._keepers.values())]


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
