"""An embedded cluster without a socket, for tests of identities."""

from __future__ import annotations

import pytest

from support.embedded import EmbeddedCluster


@pytest.fixture
def embedded() -> EmbeddedCluster:
    """A cluster with the namespaces `team` and `far`."""
    embedded = EmbeddedCluster(has_policies=True)
    embedded.make_namespace("team")
    embedded.make_namespace("far")
    return embedded
