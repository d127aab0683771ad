"""A gate of the rendered config on a real Envoy, with keys of the test's own."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from daypass._core.files import write_private
from daypass.config import Address
from daypass.config.gate import DEFAULT_GATE, Check, Gate
from daypass.local.echo import Echo
from daypass.local.envoy import ADMIN_SOCKET, Envoy
from daypass.render.envoy.bootstrap import (
    KEYS_FILE,
    envoy_files,
    keys_file,
    published_files,
    to_json,
)
from daypass.render.envoy.settings import GateSettings, Protected, Timeouts
from daypass.render.envoy.xds import Json
from daypass.rules.decision import Rules
from daypass.rules.published import Published
from support.authority import Authority
from support.doors import EKF, door_settings, running_envoy, upstream_at
from support.publishing import published as known
from support.raw import Answer, connect, exchange, get
from support.single_changes import RULES

EVERYDAY = Timeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningGate:
    """A gate before the echo service, its port, its authority and settings."""

    port: int
    authority: Authority
    settings: GateSettings
    folder: Path
    envoy: Envoy

    def send(self, lines: list[str], *, name: str = EKF) -> Answer:
        with self.connect(name) as connection:
            return exchange(connection, get(*lines, host=name))

    def connect(self, name: str = EKF) -> ssl.SSLSocket:
        """A connection that stays open."""
        return connect(self.port, authority_pem=self.authority.pem, name=name)

    def publish(self, published: Published) -> None:
        """Put this in place of what was published; it is in force a moment later."""
        for name, content in published_files(published).items():
            self.write(name, to_json(content))

    def write(self, name: str, content: str) -> None:
        """Replace one of Envoy's files, if it is another one."""
        file = self.folder / name
        if not file.exists() or file.read_text() != content:
            write_private(str(file), content.encode())


def service_at(port: int) -> Protected:
    """A service on loopback for a gate to guard."""
    return Protected(address=Address(host="127.0.0.1", port=port))


def manager_of(files: dict[str, Json]) -> Json:
    """The HTTP connection manager of the gate in its files."""
    _, listener = files["envoy.json"]["static_resources"]["listeners"]
    (manager,) = listener["filter_chains"][0]["filters"]
    config: Json = manager["typed_config"]
    return config


@contextmanager
def running_gate(
    folder: Path,
    jwks: str,
    *,
    published: Published | None = None,
    rules: Rules = RULES,
    protected: Protected | None = None,
    change: Callable[[dict[str, Json]], object] = lambda files: None,
    check: Check = "jwt",
    authorizer_socket: str = "",
    timeouts: Timeouts = EVERYDAY,
    max_stream_duration_seconds: int | None = None,
) -> Iterator[RunningGate]:
    """A gate that believes the keys of `jwks`, for host EKF and audience AUDIENCE.

    `published`: what it knows, the credential of `good_claims` if left out; in so many shards as
    all that is published later.
    `protected`: what it guards, an echo service if left out. `change`: to bend its files.
    `authorizer_socket`: where somebody answers for the checks that ask.
    """
    authority = Authority()
    door = door_settings(folder, authority, upstream_at(folder, 9, authority.pem))
    published = published or known()
    with Echo() as echo:
        gate = GateSettings(
            name=DEFAULT_GATE,
            # A config may have no bound as short as that of a test.
            gate=Gate(
                audience=rules.audience, engine="envoy", hosts=(EKF,), check=check
            ).model_copy(update={"max_stream_duration_seconds": max_stream_duration_seconds}),
            listen=Address(host="127.0.0.1", port=0),
            certificates=door.certificates[:1],
            protected=protected or Protected(address=echo.address),
            rules=rules,
            shards=len(published.shards),
            authorizer_socket=authorizer_socket,
            timeouts=timeouts,
        )
        door = replace(door, certificates=door.certificates[1:])
        files = envoy_files(door, str(folder), admin_socket=ADMIN_SOCKET, gate=gate)
        files |= {KEYS_FILE: keys_file(gate, jwks), **published_files(published)}
        change(files)
        with running_envoy(folder, files) as envoy:
            yield RunningGate(
                port=envoy.port("gate"), authority=authority, settings=gate, folder=folder,
                envoy=envoy,
            )  # fmt: skip
