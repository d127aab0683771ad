"""`daypass doctor` at a door with the policy or limits, or whose API server hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.conftest import write_credentials
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.labels import POLICY, POLICY_ENFORCED
from daypass.config.settings import Policy
from operation.doctor import examine, failed
from support.controlplane import ControlPlane
from support.identities import Identity
from support.policies import prepare
from support.up import Up

AUDIENCE = "gate.example.com"
LIMIT_SECONDS = 10 + 2
"""Of a process, which has to start on a busy machine first."""


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, Policy(audiences=(AUDIENCE,)))


@pytest.fixture(scope="module")
def bot(plane: ControlPlane) -> Identity:
    made = plane.make_identity()
    label = {"metadata": {"labels": {POLICY: POLICY_ENFORCED}}}
    plane.admin.patch(f"/api/v1/namespaces/{made.namespace}", label)
    return made


@pytest.fixture
def file(tmp_path: Path, up: Up, bot: Identity) -> Path:
    path = tmp_path / "bot.json"
    write_credentials(path, up, bot, audience=AUDIENCE)
    return path


def test_the_policy_refuses_another_audience_by_name(tmp_path: Path, file: Path) -> None:
    assert failed(examine(tmp_path, file)) == []
    found = examine(tmp_path, file, "--audience", "elsewhere")
    assert failed(found) == ["exchange"]
    assert "policy" in found["exchange"]["fact"]
    assert AUDIENCE in found["exchange"]["fact"]


def test_an_api_server_that_hangs_takes_ten_seconds_at_most(
    tmp_path: Path, file: Path, plane: ControlPlane
) -> None:
    begun = SYSTEM_CLOCK.monotonic()
    with plane.child("kube-apiserver").suspended():
        found = examine(tmp_path, file)
    # Envoy's worker either has a connection, and waits for the answer, or fails to open one.
    assert failed(found) in (["connection"], ["door"])
    assert SYSTEM_CLOCK.monotonic() - begun < LIMIT_SECONDS
