"""A gate that waits for every TokenReview, for tests that are about the token and not about time.

A gate answers 503 if it has no result within half a second, so that a slow API server delays no
request. On a busy machine that says nothing about the token. With these limits lifted, a review
that never ends fails by the limit of the test's own client.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from daypass.gate.authorizer import api_server, questions
from daypass.gate.authorizer.questions import FairQueue
from daypass.render.envoy import authorizer_filters

_PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from daypass.cli import main
from support.unlimited_reviews import unlimited_reviews
with unlimited_reviews():
    raise SystemExit(main())
"""
UNLIMITED = ("-c", _PROGRAM, str(Path(__file__).resolve().parent.parent))
"""What Python runs in place of `-m daypass`."""


@contextmanager
def unlimited_reviews(*, envoy_seconds: float = 0.0) -> Iterator[None]:
    """Lift the limits of the gates and authorizers that this process starts inside the block.

    `envoy_seconds`: how long Envoy waits for an authorizer; 0: until it responds.
    """
    with pytest.MonkeyPatch.context() as patch:
        queue = partial(FairQueue, timeout_seconds=math.inf)
        patch.setattr(questions, "FairQueue", queue)
        patch.setattr(api_server, "CONNECT_SECONDS", math.inf)
        patch.setattr(api_server, "ANSWER_SECONDS", math.inf)
        patch.setattr(authorizer_filters, "TIMEOUT_SECONDS", envoy_seconds)
        yield
