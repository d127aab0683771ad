"""curl, Go, Java, Node and Python see every refusal of a POST, whatever the size of its body.

`.ci/setup` installs the programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from daypass.render.envoy.settings import DoorSettings
from support.doors import EKF, JWT, PATH, running_door_env
from support.gates import running_gate
from support.tokens import Signer, good_claims

pytestmark = pytest.mark.timeout(300)

CLIENTS = Path(__file__).parent / "clients"
SIGNER = Signer("ours")
SIZES = {"56 bytes": (56, 40), "1 MiB": (2**20, 10), "32 MiB": (32 * 2**20, 2)}
"""The size of a body, and how often it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post, with which token, and the refusals that a client has to see."""

    url: str
    authority: str
    token: str
    small: str
    large: str


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    with ExitStack() as running:
        env = running.enter_context(
            running_door_env(tmp_path_factory.mktemp("door"), change=_with_time_to_read)
        )
        gate = running.enter_context(running_gate(tmp_path_factory.mktemp("gate"), SIGNER.jwks))
        door_ca, gate_ca = (
            tmp_path_factory.mktemp("ca") / "door",
            tmp_path_factory.mktemp("ca") / "gate",
        )
        door_ca.write_text(env.door.authority.pem)
        gate_ca.write_text(gate.authority.pem)
        yield {
            "door": Target(
                url=f"https://{EKF}:{env.door.port}{PATH}x", authority=str(door_ca), token=JWT,
                small="404 not-published 1", large="413 too-large 1",
            ),
            "gate": Target(
                url=f"https://{EKF}:{gate.port}/x", authority=str(gate_ca),
                token=SIGNER.sign(good_claims(aud=["elsewhere"])),
                small="403 audience 1", large="403 audience 1",
            ),
        }  # fmt: skip


def _with_time_to_read(settings: DoorSettings) -> DoorSettings:
    """A busy machine may need more than 10 s for 32 MiB."""
    return replace(settings, timeouts=replace(settings.timeouts, request_seconds=50))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The command of each client."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "hosts").write_text(f"127.0.0.1 {EKF}\n")
    source = ["-d", str(folder), str(CLIENTS / "Post.java")]
    subprocess.run(["javac", *source], check=True)
    go = ["go", "build", "-o", str(folder / "post"), str(CLIENTS / "post.go")]
    subprocess.run(go, check=True, cwd=folder, env={**os.environ, "GO111MODULE": "off"})
    names = f"-Djdk.net.hosts.file={folder / 'hosts'}"
    return {
        "curl": ["bash", str(CLIENTS / "post.sh")],
        "go": [str(folder / "post")],
        "java": ["java", names, "-cp", str(folder), "Post"],
        "node": ["node", str(CLIENTS / "post.mjs")],
        "python": [sys.executable, str(CLIENTS / "post.py")],
    }


@pytest.mark.parametrize("length", ["known", "unknown"])
@pytest.mark.parametrize("where", ["door", "gate"])
@pytest.mark.parametrize(
    ("client", "way"),
    [
        ("curl", "HTTP_2"), ("curl", "HTTP_1_1"), ("go", "HTTP_2"), ("go", "HTTP_1_1"),
        ("java", "HTTP_2"), ("java", "HTTP_1_1"), ("node", "HTTP_1_1"), ("python", "urllib"),
        ("python", "requests"), ("python", "httpx"), ("python", "httpx-http2"),
    ],
)  # fmt: skip
def test_every_refusal_is_seen(
    targets: dict[str, Target], programs: dict[str, list[str]],
    client: str, way: str, where: str, length: str,
) -> None:  # fmt: skip
    target = targets[where]
    for size, times in SIZES.values():
        number = times if length == "known" else 1
        given = [target.url, target.authority, target.token, str(size), str(number), way, length]
        done = subprocess.run(
            [*programs[client], *given],
            env={**os.environ, "NODE_EXTRA_CA_CERTS": target.authority},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        expected = target.small if size < 8192 else target.large
        assert Counter(done.stdout.splitlines()) == {expected: number}, done.stderr[-1000:]
