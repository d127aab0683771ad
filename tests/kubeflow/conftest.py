"""The real client of Kubeflow Pipelines, behind a real gate.

It stands in the way of newer libraries, so it has an environment of its own (`.venv-kfp`, from the
same lock), in which these tests are a second run of `make test`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.fake_pipelines import FakePipelines, running_pipelines


@pytest.fixture(scope="session")
def pipelines() -> Iterator[FakePipelines]:
    """What the gate guards."""
    with running_pipelines() as running:
        yield running


@pytest.fixture(scope="session")
def daypass_upstream(pipelines: FakePipelines) -> str:
    """Named to the gate of `daypass_stack`."""
    return pipelines.url
