"""Door and gate on this machine: rendered files, and an Envoy that runs with them."""

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass.config import Address
from daypass.local.envoy import ADMIN_SOCKET, Envoy, verify_free
from daypass.render.envoy.bootstrap import (
    KEYS_FILE,
    METRICS,
    PUBLISHED_FOLDER,
    envoy_files,
    keys_file,
    published_file,
    published_files,
    to_json,
)
from daypass.render.envoy.settings import DoorSettings, GateSettings
from daypass.rules.published import Published, shard_name, shard_of

_READ_WITHIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyInstanceSettings:
    """A door, and a gate if there is one."""

    door: DoorSettings
    gate: GateSettings | None = None

    @property
    def listens(self) -> dict[str, Address]:
        """The addresses to listen on, by the name of the listener."""
        gate = None if self.gate is None else self.gate.listen
        listens = {"door": self.door.listen, "gate": gate, METRICS: self.door.metrics}
        return {name: listen for name, listen in listens.items() if listen is not None}


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
        self.ports: dict[str, int] = {}
        (folder / PUBLISHED_FOLDER).mkdir(mode=0o700, exist_ok=True)
        for address in settings.listens.values():
            verify_free(address)
        self._write()
        self._start()

    def _start(self) -> None:
        self.process = Envoy.start(self.folder, "envoy.json", concurrency=self._workers)
        try:
            self.ports = {name: self.process.port(name) for name in self.settings.listens}
        except BaseException:
            self.process.stop()
            raise

    def restart(self) -> None:
        """Start Envoy again, with the same settings and ports."""
        self.process.stop()
        self._write()
        self._start()

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
        door, gate, metrics = self.settings.door, self.settings.gate, self.settings.door.metrics
        if gate is not None:
            self._write_keys(gate, self._keys)
            with self._publishing:
                self._write_published(self.published)
        files = envoy_files(
            replace(
                door,
                listen=self._placed("door", door.listen),
                metrics=None if metrics is None else self._placed(METRICS, metrics),
            ),
            str(self.folder),
            admin_socket=ADMIN_SOCKET,
            gate=None if gate is None else replace(gate, listen=self._placed("gate", gate.listen)),
        )
        for name, content in files.items():
            write_private(str(self.folder / name), to_json(content).encode())

    def _write_keys(self, gate: GateSettings, keys: str | None) -> None:
        content = to_json(keys_file(gate, keys))
        write_private(str(self.folder / KEYS_FILE), content.encode())

    def _write_published(self, published: Published, known: Published | None = None) -> None:
        for name, content in published_files(published, known).items():
            if known is not None:
                # Envoy would read every version of a file, one after another: if it is busy, each
                # would make it later. When it starts again, it reads everything.
                with suppress(OSError, DaypassError):
                    self._unread({name: self._versions[name]}, _READ_WITHIN_SECONDS)
            self._publications += 1
            self._versions[name] = str(self._publications)
            content["version_info"] = self._versions[name]
            text = json.dumps(content, separators=(",", ":"))  # ten times as fast as with indents
            # Each start writes it again, so it need not be synced, which takes the longest.
            write_private(str(self.folder / name), text.encode(), durable=False)

    def _placed(self, name: str, listen: Address) -> Address:
        return replace(listen, port=self.ports.get(name, listen.port))

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
