"""Metrics of a program that lies: they are read soon, or not at all."""

from __future__ import annotations

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.status.samples import NoMetricsError, parse_exposition


@pytest.mark.parametrize("unit", ["envoy_http_x_rbac_gate_policy_daypass_", "x_rbac_gate_policy_"])
def test_a_name_that_looks_like_istios_over_and_over_takes_no_time(unit: str) -> None:
    line = f"envoy_http_{unit * 200}"
    text = "\n".join(line[:length] for length in (1000, 1024, 4096) for _ in range(1000))
    began = SYSTEM_CLOCK.monotonic()
    assert parse_exposition(text) == {}
    assert SYSTEM_CLOCK.monotonic() - began < 10


def test_more_series_than_any_program_has_are_not_read() -> None:
    lines = (f'envoy_http_rbac_policy_denied{{pod="{n}"}} 1' for n in range(300_000))
    with pytest.raises(NoMetricsError):
        parse_exposition("\n".join(lines))
