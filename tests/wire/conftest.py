"""One door in front of one recorder, shared by every test that leaves them as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from daypass.render.envoy.settings import Timeouts
from support.doors import DoorEnv, running_door_env


@pytest.fixture(scope="session")
def shared_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorEnv]:
    """Without rate limits, with the timeouts of everyday except for clients that are broken off."""
    with running_door_env(
        tmp_path_factory.mktemp("door"),
        change=lambda settings: replace(settings, timeouts=Timeouts(close_seconds=0.05)),
    ) as env:
        yield env


@pytest.fixture
def env(shared_env: DoorEnv) -> Iterator[DoorEnv]:
    """The shared door, with nothing left over from the test before; nothing arrives late."""
    yield shared_env
    assert shared_env.arrived() == ()
