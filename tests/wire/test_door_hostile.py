"""Thousands of hostile requests: what arrives is an exact TokenRequest, or nothing does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from daypass.config.exposure import REQUEST_HEADERS
from daypass.render.envoy.settings import Timeouts
from support.doors import DoorEnv, running_door_env
from support.hostile import run_hostile
from support.hostile_requests import hostile_requests


def test_of_thousands_of_hostile_requests_only_exact_ones_arrive(env: DoorEnv) -> None:
    report = run_hostile(env.door, env.recorder, 3_000, seed=20_210_629)
    assert report.faults == []
    assert report.sent == 3_000
    # Some are exact in spite of being bent, so a run also tells that the door is open.
    assert 0.1 < report.arrived / report.sent < 0.5
    assert {400, 401, 403, 404, 405, 413, 415, 426, 431, 501} <= report.answers.keys()


def test_a_seed_tells_the_requests() -> None:
    first, again, other = (hostile_requests(seed) for seed in (1, 1, 2))
    assert [next(first) for _ in range(100)] == [next(again) for _ in range(100)]
    assert next(first) != next(other)


@pytest.mark.parametrize(
    ("hole", "value"),
    [
        ("render.envoy.upstream.REQUEST_HEADERS", (*REQUEST_HEADERS, "impersonate-user")),
        ("render.envoy.door_routes.BEARER_JWT", "(?i)bearer .*"),
        ("render.envoy.door_routes.MEDIA_TYPE", ".*"),
        ("config.exposure.LABEL", "[^/]+"),
    ],
)
def test_a_door_with_a_hole_is_told_from_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hole: str, value: object
) -> None:
    """Otherwise a run without faults would say nothing."""
    monkeypatch.setattr(f"daypass.{hole}", value)
    soon = Timeouts(close_seconds=0.05)
    with running_door_env(tmp_path, change=lambda s: replace(s, timeouts=soon)) as env:
        assert run_hostile(env.door, env.recorder, 600, seed=1).faults != []
