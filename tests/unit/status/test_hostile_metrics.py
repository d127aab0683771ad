"""Programs and objects that lie: metrics are read soon or not at all, and nothing steers the
terminal.
"""

from __future__ import annotations

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli.status import screen
from daypass.status.report import Overview, PartState
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


def test_an_image_steers_no_terminal() -> None:
    part = PartState(name="door", image="example.com/envoy:v1\x1b[31m")
    status = Overview(version="1", place="", metrics="", findings=[], domains=[], parts=[part])
    shown = screen(status)
    assert "envoy:v1?[31m" in shown
    assert "\x1b" not in shown
