"""The gate of `daypass up` before a real API server, and callers on connections that stay open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daypass._core.secret import Secret
from daypass.local.echo import Echo
from support import fake_door
from support.controlplane import ControlPlane
from support.identities import Identity
from support.raw import Caller, Conversation
from support.up import HOST, Up, up_config

AUDIENCE = fake_door.AUDIENCE


@contextmanager
def gate_up(
    folder: Path,
    plane: ControlPlane,
    *arguments: str,
    check: str = "jwt",
    close_after: str = "10m",
    more: str = "",
    program: Sequence[str] = ("-m", "daypass"),
) -> Iterator[Up]:
    """Door and gate; the state folder is that of `folder`, so a second run continues the first.

    `more`: keys of the gate. `program`: what Python runs.
    """
    # What it guards is in this process, so that `daypass up` can be stopped and the gate asked.
    with Echo() as echo:
        config = up_config(
            plane,
            local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external, "
            f"upstream: 'http://{echo.address}'}}",
            gates=f"{{default: {{audience: {AUDIENCE}, engine: envoy, hosts: [localhost], "
            f"check: {check}{more}}}}}",
            watch=f"{{closeAfter: {close_after}}}",
            policy=f"{{audiences: [{AUDIENCE}], longestLifetime: 2h}}",
            door="{namespace: gate-tests}",
        )
        whole = ["--kubeconfig", str(plane.kubeconfig), *arguments]
        with Up(folder, config, arguments=whole, program=program) as up:
            up.wait_for_words("the gate has taken the API server's signing keys")
            yield up


@contextmanager
def calling(up: Up, plane: ControlPlane, identity: Identity, **shape: Any) -> Iterator[Caller]:
    """Somebody with a token of this shape on a connection to the gate."""
    token = plane.make_token(identity, **{"audiences": [AUDIENCE], **shape})
    with calling_with(up, token) as caller:
        yield caller


@contextmanager
def calling_with(up: Up, token: Secret) -> Iterator[Caller]:
    """Somebody with this token on a connection to the gate."""
    with up.connect("gate") as connection:
        yield Caller(Conversation(connection), HOST, token)
