"""Door and gate on this machine: rendered files, an Envoy that follows them, changes as it runs."""

import hashlib
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass.local.envoy import ADMIN_SOCKET, Envoy, EnvoyFailedError, validate, verify_free
from daypass.render.envoy.bootstrap import (
    KEYS_FILE,
    REVOKED_FILE,
    followed_files,
    keys_file,
    revoked_file,
    static_files,
    to_json,
)
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.envoy.gate_listener import NO_KEYS
from daypass.render.envoy.settings import DoorSettings, GateSettings, SocketAddress

VERSIONS = {
    "listeners.json": "listener_manager.lds.version_text",
    "clusters.json": "cluster_manager.cds.version_text",
    "routes.json": "http.door.rds.door.version_text",
    "routes-gate.json": "http.gate.rds.gate.version_text",
}
"""The statistic in which Envoy says which version of a file it has taken."""
TAKEN_WITHIN_SECONDS = 5.0


AnySettings = TypeVar("AnySettings", DoorSettings, GateSettings)


class RefusedChangeError(DaypassError):
    """A change that Envoy would not take; all runs on as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyInstanceSettings:
    """A door, and maybe a gate beside it."""

    door: DoorSettings
    gate: GateSettings | None = None

    @property
    def listens(self) -> dict[str, SocketAddress]:
        """Where it listens, by the name of the listener."""
        listens = {"door": self.door.listen}
        return listens if self.gate is None else {**listens, "gate": self.gate.listen}


class EnvoyInstance:
    """A running door and gate. `folder` is private and has a short name; it holds Envoy's files.

    `ports`: where they listen, by name, also where the kernel chose the port. `keys`: the
    gate's first key set; with None it refuses every token until `take_keys` is called. `revoked`:
    what the gate refuses from its first request on. `workers`: threads of Envoy, or None for one a
    core.
    """

    def __init__(
        self,
        folder: Path,
        settings: EnvoyInstanceSettings,
        *,
        keys: str | None = None,
        revoked: RevocationSnapshot | None = None,
        workers: int | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._workers = workers
        self._keys = keys or NO_KEYS
        self._revoked = revoked or RevocationSnapshot()
        self._writing_revoked = threading.Lock()
        self._pinned: dict[str, int] = {}
        for address in settings.listens.values():
            verify_free(address)
        # Envoy itself judges what it starts with, and there is nothing yet that could be lost.
        self._write(settings)
        self._start()

    def _start(self) -> None:
        self.envoy = Envoy.start(self.folder, "bootstrap.json", concurrency=self._workers)
        try:
            self.ports = {name: self.envoy.port(name) for name in self.settings.listens}
        except BaseException:
            self.envoy.stop()
            raise

    def restart(self) -> None:
        """A new Envoy with the same settings, on the same ports, after the old one has ended."""
        self.envoy.stop()
        listens = self.settings.listens
        self._pinned = {name: self.ports[name] for name in listens if listens[name].port == 0}
        self._write(self.settings)
        self._start()

    def apply(self, settings: EnvoyInstanceSettings) -> None:
        """Change what runs without dropping a connection.

        Raises RefusedChangeError, EnvoyFailedError or PortTakenError with the old settings still
        in force.
        """
        known = self.settings.listens
        for name, address in settings.listens.items():
            if address != known.get(name):
                verify_free(address)
        self._judge(settings)
        old, self.settings = self.settings, settings
        try:
            self._verify_taken(self._write(settings))
        except (OSError, DaypassError):
            self.settings = old
            with suppress(OSError):  # the first error is the one to report
                self._write(old)
            raise

    def take_keys(self, keys: str) -> bool:
        """Give the gate a JSON Web Key Set, as text; open connections obey it, too.

        Gives back whether it is another one than before.
        """
        if keys == self._keys:
            return False
        if self.settings.gate is not None:
            self._write_keys(self.settings.gate, keys)
        self._keys = keys
        return True

    def take_revoked(self, revoked: RevocationSnapshot) -> None:
        """Give the gate a list of the revoked; open connections obey it, too. From any thread."""
        self._revoked = revoked
        # With `review` Envoy reads no list.
        if self.settings.gate is not None and self.settings.gate.is_native:
            self._write_revoked()

    def stop(self) -> None:
        """End it."""
        self.envoy.stop()

    def _judge(self, settings: EnvoyInstanceSettings) -> None:
        scratch = self.folder / "judged"
        scratch.mkdir(mode=0o700, exist_ok=True)
        files = static_files(
            settings.door,
            str(scratch),
            admin_socket=ADMIN_SOCKET,
            gate=settings.gate,
            keys=self._keys,
        )
        try:
            for name, content in files.items():
                (scratch / name).write_text(to_json(content))
            validate(scratch, "envoy.json")
        finally:
            shutil.rmtree(scratch)

    def _write(self, settings: EnvoyInstanceSettings) -> dict[str, str]:
        """Put every file in place; gives back the version of each that Envoy reports on."""
        if settings.gate is not None:
            self._write_keys(settings.gate, self._keys)
            self._write_revoked()
        files = followed_files(
            self._placed(settings.door, "door"),
            str(self.folder),
            admin_socket=ADMIN_SOCKET,
            gate=None if settings.gate is None else self._placed(settings.gate, "gate"),
        )
        versions: dict[str, str] = {}
        # The listeners last: whatever they refer to is then in place.
        for name in sorted(files, key=lambda n: n == "listeners.json"):
            content = files[name]
            if name in VERSIONS:
                versions[name] = hashlib.sha256(to_json(content).encode()).hexdigest()[:16]
                content = {**content, "version_info": versions[name]}
            write_private(str(self.folder / name), to_json(content).encode())
        return versions

    def _write_keys(self, gate: GateSettings, keys: str) -> None:
        content = to_json(keys_file(gate, keys))
        write_private(str(self.folder / KEYS_FILE), content.encode())

    def _write_revoked(self) -> None:
        with self._writing_revoked:  # whoever comes last writes the latest
            content = to_json(revoked_file(self._revoked))
            write_private(str(self.folder / REVOKED_FILE), content.encode())

    def _placed(self, settings: AnySettings, name: str) -> AnySettings:
        port = settings.listen.port or self._pinned.get(name, 0)
        return replace(settings, listen=replace(settings.listen, port=port))

    def _verify_taken(self, expected: dict[str, str]) -> None:
        deadline = SYSTEM_CLOCK.monotonic() + TAKEN_WITHIN_SECONDS
        missing = list(expected)
        while missing and SYSTEM_CLOCK.monotonic() < deadline:
            time.sleep(0.02)
            versions = self.envoy.stats("version_text")
            missing = [name for name in expected if versions.get(VERSIONS[name]) != expected[name]]
        if missing:
            raise RefusedChangeError(
                f"Envoy did not take the new {', '.join(missing)}", self.envoy.log_end()
            )
        try:
            self.ports = {name: self.envoy.port(name) for name in self.settings.listens}
        except EnvoyFailedError as error:
            raise RefusedChangeError("Envoy did not open a new listener", str(error)) from None
