"""A door whose answers a test sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.running import Door


@pytest.fixture
def door() -> Iterator[Door]:
    """Grants tokens of an hour unless told otherwise."""
    with Door() as door:
        yield door
