"""Renews one token file: gets a token, writes it, runs the hooks, and waits until it is due again.

An agent may run as root in a folder of another user. So a file is written relative to the folder's
descriptor, even if the folder is replaced meanwhile, and no link in it is followed. A lock keeps
other agents out. If an agent is killed, the next write removes what it left.

Each file has a TokenSource of its own, which decides when a token is replaced and how long to wait
after a failed exchange, so that a fleet of agents is spread like a fleet of clients. In addition an
agent never gives up: failures that only a person can fix, such as a refused identity, are retried
every few minutes.
"""

import errno
import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daypass._core.clock import Backoff, Clock
from daypass._core.errors import DaypassError
from daypass._core.files import PARTIAL, write_private
from daypass._core.net import HostPort
from daypass._core.secret import Secret, redact
from daypass._core.text import printable
from daypass.agent.config import CommandHook, Hook, PostHook, TokenFile
from daypass.agent.log import AgentEvent, AgentLog
from daypass.client.config import CredentialsConfig, ReloadingConfig
from daypass.client.credentials_source import read_source
from daypass.client.http1 import USER_AGENT, HttpRequest
from daypass.client.retry import Failures
from daypass.client.token import CachedToken, Token
from daypass.client.token_source import TokenSource
from daypass.client.transport import Deadline, Timing, TransportError, route_to, send

if TYPE_CHECKING:
    from daypass.client.transport import Send

SHORTEST_PAUSE_SECONDS = 1.0
"""A file is not renewed more often than this, however short its tokens live."""
PERMANENT_BACKOFF = Backoff(first_seconds=10.0, longest_seconds=300.0, jitter=0.5)
"""Between attempts after an error that only a person can fix, such as a 401."""
LONGEST_SLEEP_SECONDS = 30.0
"""Check the clock this often: a machine does not report that it was asleep."""
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 100, 0.05


class AgentCredentials:
    """The credentials in the file `path` or in `environ`; token sources follow their changes.

    `variables` are all environment variables that ever led to a long-lived token. They grow only:
    after a rotation to a file, the old token in a variable may still be valid.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        path: str | None,
        timing: Timing,
        *,
        send: "Send" = send,
    ) -> None:
        self.path = path
        self.variables: tuple[str, ...] = ()
        self._environ = environ
        self._timing = timing
        self._send = send

    def open(self) -> TokenSource:
        """Return a new source of tokens; raises CredentialsError."""
        config = ReloadingConfig(self.read(), self.read)
        return TokenSource(config, self._timing, send=self._send)

    def identity(self) -> object:
        """Return a value that changes with the credentials; None if they can't be read now."""
        try:
            config = self.read()
        except DaypassError:
            return None
        return config.source.identity(), config.token

    def read(self) -> CredentialsConfig:
        """Return the credentials as they are now; raises CredentialsError."""
        source = read_source(self._environ, self.path)
        config = CredentialsConfig(source, self._environ)
        self.variables = tuple(dict.fromkeys((*self.variables, *config.variables)))
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewerStatus:
    """The state of a file for probes and metrics. `left_seconds` None: not written yet."""

    path: str
    is_good: bool
    left_seconds: float | None
    renewals: int
    failures: int
    hook_failures: int


class FileRenewer:
    """Keeps one file fresh. `renew` makes one attempt; `run` repeats it until `stop`.

    `renewed` is called after each renewal. The thread of `run` changes the token and the
    counts. Other threads read them with `status`, and set flags with `stop`, `renew_now` and
    `report_expiry`.
    """

    def __init__(
        self,
        target: TokenFile,
        credentials: AgentCredentials,
        log: AgentLog,
        timing: Timing,
        *,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self.target = target
        self._credentials = credentials
        self._log = log
        self._timing = timing
        self._renewed = renewed
        self._wake = threading.Event()
        self._stopped = self._hurry = self._expiry_reported = False
        self._renewals = self._failures = self._hook_failures = 0
        self._in_a_row = Failures(PERMANENT_BACKOFF)
        self._source: TokenSource | None = None
        self._key: tuple[str, int] | None = None
        self._held: CachedToken | None = None
        """The token in the file: a copy, since the source may shorten the use of its own."""
        self._not_before = 0.0

    def run(self) -> None:
        """Renew the file when it is due, until `stop`."""
        while not self._stopped:
            if self._hurry:
                self._hurry = False  # before renewing, so that a request meanwhile counts
                self._source, self._key, self._not_before = None, None, 0.0
                self._in_a_row.clear()
            wait = self.wait_seconds()
            if wait > 0:
                self._wake.wait(min(wait, LONGEST_SLEEP_SECONDS))
                self._wake.clear()
            else:
                self.renew()

    def wait_seconds(self) -> float:
        """Return how long to wait before the next attempt; 0 if it is due."""
        clock = self._timing.clock
        wait = max(self._not_before - clock.monotonic(), self._in_a_row.due_seconds(clock))
        if self._source is None or self._key is None:
            return wait
        if self._held is not None and not os.path.exists(self.target.path):
            return wait  # somebody has deleted it
        return max(wait, self._source.due_seconds(self._key))

    def stop(self) -> None:
        """Make `run` return after the renewal in progress."""
        self._stopped = True
        self._wake.set()

    def renew_now(self) -> None:
        """Make `run` renew the file with the credentials as they are now, without waiting."""
        self._hurry = True
        self._wake.set()

    def status(self) -> RenewerStatus:
        """Return the state of the file."""
        held, left = self._held, None
        if held is not None:
            left = held.usable_seconds - held.age_seconds(self._timing.clock)
        return RenewerStatus(
            path=self.target.path,
            is_good=left is not None and left > 0,
            left_seconds=left,
            renewals=self._renewals,
            failures=self._failures,
            hook_failures=self._hook_failures,
        )

    def report_expiry(self) -> None:
        """Log once that the token in the file has expired."""
        status = self.status()
        if status.left_seconds is None or status.is_good or self._expiry_reported:
            return
        self._expiry_reported = True
        self._log.write(
            AgentEvent.TOKEN_EXPIRED,
            f"the token in {self.target.path} has expired and could not be renewed",
            path=self.target.path,
        )

    def renew(self) -> bool:
        """Make one attempt and run the hooks; return whether all of it succeeded."""
        try:
            token = self.attempt()
        except Exception as error:
            self._note_failure(error)
            return False
        return self._run_hooks(token.value)

    def attempt(self) -> Token:
        """Make one attempt; return the token now in the file. Raises DaypassError, OSError."""
        self._credentials.read()  # once they are removed, no token is renewed
        if self._source is None:
            self._source = self._credentials.open()
        self._key = self._source.key(self.target.audience, self.target.lifetime_seconds)
        cached = self._source.get(self._key, in_background=False)
        # The format `token` has no newline, as in a mounted volume.
        end = "" if self.target.format == "token" else "\n"
        write_token_file(self.target, (cached.formatted(self.target.format) + end).encode())
        self._note_renewal(cached)
        return cached.token

    def _note_renewal(self, cached: CachedToken) -> None:
        self._held = copy(cached)
        self._not_before = self._timing.clock.monotonic() + SHORTEST_PAUSE_SECONDS
        self._in_a_row.clear()
        self._renewals += 1
        self._expiry_reported = False
        self._renewed()
        self._log.write(
            AgentEvent.RENEWED,
            f"{self.target.path} is good until {cached.expires_at}",
            path=self.target.path,
            expires_at=cached.expires_at,
        )

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        self._in_a_row.add(error, self._timing)
        self._log.write(
            AgentEvent.RENEWAL_FAILED,
            f"{self.target.path} was not renewed: {explain(error)}",
            path=self.target.path,
            error=type(error).__name__,
            failures=self._in_a_row.count,
            again_in_seconds=round(self.wait_seconds()),
        )

    def _run_hooks(self, token: Secret) -> bool:
        succeeded = True
        for number, hook in enumerate(self.target.hooks, 1):
            try:
                run_hook(
                    hook, self.target.path, token, self._credentials.variables, self._timing.clock
                )
            except Exception as error:
                succeeded = False
                self._hook_failures += 1
                reason = explain(error)
                self._log.write(
                    AgentEvent.HOOK_FAILED,
                    f"{self.target.path} was renewed, and on_renewal {number} failed: {reason}",
                    path=self.target.path,
                    hook=number,
                )
        return succeeded


def explain(error: Exception) -> str:
    """Return an error on one line. Of an unexpected error only its class: it may quote anything."""
    if isinstance(error, DaypassError):
        return str(error).replace("\n", "; ")
    if isinstance(error, OSError):
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        return f"{where}{error.strerror}"
    return f"unexpected {type(error).__name__} (this is a bug in daypass)"


def write_token_file(target: TokenFile, content: bytes) -> None:
    """Replace the file by `content`, with its configured mode and owner.

    Raises OSError; then nothing has changed.
    """
    folder, name = os.path.split(target.path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, folder)
        for left in os.listdir(descriptor):
            if left.startswith(PARTIAL.format(name)):
                with suppress(OSError):
                    os.unlink(left, dir_fd=descriptor)
        write_private(name, content, mode=target.mode, owner=target.owner, folder=descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    """Lock the folder until the descriptor is closed. Raises BlockingIOError after five seconds."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_SECONDS)
        except OSError:
            return  # a file system without such locks
    raise BlockingIOError(errno.EAGAIN, "another agent is writing there", folder)


# -- hooks: a command, or a POST; none of them gets the token

_OUTPUT_LIMIT_BYTES = 4096
_OURS = ("DAYPASS_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY")


class HookError(DaypassError):
    """A hook failed."""


def run_hook(hook: Hook, path: str, token: Secret, variables: Sequence[str], clock: Clock) -> None:
    """Run a hook after `path` was renewed. Raises HookError.

    `token` is redacted from a command's output. `variables` are removed from its environment.
    """
    if isinstance(hook, CommandHook):
        _command(hook, path, token, variables)
    else:
        _post(hook, clock)


def _command(hook: CommandHook, path: str, token: Secret, variables: Sequence[str]) -> None:
    name = printable(hook.command[0], 60)
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                hook.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=hook_environment(os.environ, path, variables),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
            raise HookError(f"the command {name} did not start: {reason}") from None
        try:
            code = child.wait(hook.timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its own session: its children, too
            child.wait()
            raise HookError(
                f"the command {name} took more than {hook.timeout_seconds} s and was ended"
            ) from None
        if code:
            output.seek(0)
            said = redact(output.read(_OUTPUT_LIMIT_BYTES).decode("utf-8", "replace"), token)
            raise HookError(f"the command {name} ended with {code}: {printable(said)}")


def hook_environment(
    environ: Mapping[str, str], path: str, variables: Sequence[str]
) -> dict[str, str]:
    """Return the environment of a command, with DAYPASS_RENEWED set to the path of the file.

    The agent's own variables and `variables` are left out.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OURS) and name not in variables
    }
    return {**kept, "DAYPASS_RENEWED": path}


def _post(hook: PostHook, clock: Clock) -> None:
    parts = urlsplit(hook.url)
    tls = parts.scheme == "https"
    target = HostPort.parse(parts.netloc, default_port=443 if tls else 80)
    assert target is not None  # noqa: S101 - as it was read
    path = parts.path or "/"
    request = HttpRequest(
        method="POST",
        target=f"{path}?{parts.query}" if parts.query else path,
        headers=(
            ("Host", parts.netloc),
            ("User-Agent", USER_AGENT),
            ("Content-Length", "0"),
            ("Connection", "close"),
        ),
    )
    try:
        status = send(
            route_to(target, tls=tls), request, Deadline(clock, hook.timeout_seconds)
        ).status
    except TransportError as error:
        reason = type(error.__cause__).__name__
        raise HookError(f"POST {target} got no answer ({error.stage}: {reason})") from None
    if not 200 <= status < 300:
        raise HookError(f"POST {target} was answered with {status}")
