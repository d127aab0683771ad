"""The door in front of a real kube-apiserver, as `daypass up` runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.controlplane import ControlPlane
from support.up import Up, running_up, up_config


@pytest.fixture(scope="module")
def up(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A door that the tests of a module share."""
    with running_up(tmp_path_factory.mktemp("up"), up_config(control_plane)) as running:
        yield running
