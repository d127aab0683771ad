"""An embedded cluster without a socket, for tests of identities."""

from __future__ import annotations

import pytest

from support.embedded import EmbeddedCluster


@pytest.fixture
def world() -> EmbeddedCluster:
    """A cluster with the namespaces `team` and `far`."""
    world = EmbeddedCluster(version="v1.37.2")
    world.make_namespace("team")
    world.make_namespace("far")
    return world
