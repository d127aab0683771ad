"""What is computed of the samples of metrics, and that no text makes a parser fail otherwise."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.status.samples import (
    COUNTERS,
    NoMetricsError,
    Sample,
    Samples,
    parse_exposition,
    parse_vector,
    query,
)

SCRAPES = Path(__file__).parents[2] / "operation" / "scrapes"


def read(name: str) -> Samples:
    series = parse_exposition((SCRAPES / f"{name}.txt").read_text())
    return Samples(Sample(key, dict(labels), value) for (key, labels), value in series.items())


def test_the_door_s_envoy_tells_rate_refusals_and_latency() -> None:
    traffic = read("door").of_door()
    classes = read("door").by("envoy_response_code_class", "envoy_http_downstream_rq_xx")
    rate = sum(classes.values())
    assert (traffic.rate, traffic.refused, traffic.failed) == (rate, classes["4"] / rate, 0)
    assert traffic.reasons["too-many-requests"] * rate > 1
    assert "forwarded" not in traffic.reasons
    assert traffic.p50 is not None
    assert traffic.p99 is not None
    assert 0 < traffic.p50 < traffic.p99 < 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gate-one-machine", "expired"), ("istio-gateway", "no-token"), ("authorizer", "audience")],
)
def test_each_kind_of_gate_tells_the_same_reasons(name: str, reason: str) -> None:
    traffic = read(name).of_gate("default")
    assert traffic.rate is not None
    assert traffic.reasons[reason] * traffic.rate >= 1
    assert traffic.refused == pytest.approx(sum(traffic.reasons.values()))
    assert traffic.refused is not None
    assert traffic.refused < 1


AT_GATE = {"envoy_rbac_http_prefix": "gate"}


def test_a_gate_counts_its_own_gateway_alone() -> None:
    samples = [
        Sample(
            "envoy_http_rbac_policy_denied",
            {**AT_GATE, "envoy_rbac_policy_name": f"daypass-{pod}", "pod": pod},
            1.0,
        )
        for pod in ("a", "b")
    ]  # fmt: skip
    assert Samples(samples).of_gate("one", {"a"}).reasons == {"a": 1.0}
    assert Samples(samples).of_gate("none", set()).rate is None


def test_without_requests_shares_and_times_are_since_the_start() -> None:
    series = parse_exposition((SCRAPES / "gate-one-machine.txt").read_text())
    read_twice = Samples(
        Sample(name, dict(labels), 0.0, value) for (name, labels), value in series.items()
    )
    lately = read("gate-one-machine").of_gate("default")
    assert read_twice.of_gate("default") == replace(lately, rate=0.0)


def buckets(*counts: tuple[str, float]) -> Samples:
    name = "envoy_http_downstream_rq_time_bucket"
    return Samples(Sample(name, {"le": le}, count) for le, count in counts)


def test_quantiles_are_interpolated_as_prometheus_does() -> None:
    assert buckets(("100", 50.0), ("200", 99.0), ("+Inf", 100.0)).quantiles() == (0.1, 0.2)


@pytest.mark.parametrize(
    "samples",
    [
        buckets(),
        buckets(("+Inf", 3.0)),
        buckets(("100", 0.0), ("+Inf", 0.0)),
        buckets(("x", 1.0), ("nan", 1.0), ("+Inf", 1.0)),
        buckets(("100", 1.0)),
    ],
    ids=["none", "one", "nothing counted", "no numbers", "not all"],
)
def test_buckets_that_tell_nothing_have_no_quantiles(samples: Samples) -> None:
    assert samples.quantiles() == (None, None)


def test_what_is_no_number_and_what_is_negative_is_left_out() -> None:
    name = "daypass_gate_watch_keys_age_seconds"
    samples = Samples(Sample(name, {}, value) for value in (math.nan, math.inf, -1.0, 4.0))
    assert samples.by("pod", name) == {"": 4.0}


def test_a_label_cannot_steer_a_terminal_or_fill_it() -> None:
    line = 'daypass_gate_decisions_total{gate="g",reason="\x1b[2J' + "x" * 500 + '"} 3\n'
    series = parse_exposition(line)
    samples = Samples(Sample(name, dict(labels), value) for (name, labels), value in series.items())
    (reason,) = samples.of_gate("g").reasons
    assert reason.isprintable()
    assert len(reason) <= 64


def test_a_line_without_end_is_left_out() -> None:
    text = 'daypass_gate_decisions_total{reason="' + "_rbac_gate_policy_daypass_" * 100_000
    assert parse_exposition(text) == {}


SYNTAX = ("{", "}", '"', "\\", "=", ",", " ", "#", "\n", "\x1b", "\ud800", "\x00")
WORDS = st.sampled_from([*SYNTAX, "le", "NaN", "1", "-Inf", "# TYPE ", " counter", *COUNTERS])


@given(st.lists(WORDS | st.text(max_size=8), max_size=40).map("".join))
def test_every_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_exposition, lambda it: list(parse_vector(it))):
        with suppress(NoMetricsError):
            parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "result", "metric", "value", "series"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_json_is_an_answer_or_none(document: object) -> None:
    with suppress(NoMetricsError):
        for sample in parse_vector(json.dumps(document)):
            assert isinstance(sample.value, float)


def test_one_query_asks_for_all_series() -> None:
    text = query(300)
    assert all(f"rate({name}[300s])" in text for name in COUNTERS)
    assert len(text) < 4000
