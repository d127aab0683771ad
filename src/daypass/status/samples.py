"""Samples of metrics, and what is computed of them. What is no number is left out."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from daypass._core.text import printable
from daypass.rules.reasons import Reason
from daypass.status.report import Traffic

_CLASSES, _TIMES = "envoy_http_downstream_rq_xx", "envoy_http_downstream_rq_time_bucket"
_ALLOWED, _DENIED = "envoy_http_rbac_policy_allowed", "envoy_http_rbac_policy_denied"
_DECISIONS = "daypass_gate_decisions_total"
KEYS_AGE = "daypass_gate_watch_keys_age_seconds"
GATE_THERE = "envoy_extension_config_discovery_http_filter_daypass_gate_keys_config_reload"
"""An Envoy of Istio has it, if it has the gate's filters."""
COUNTERS = (_CLASSES, _TIMES, _ALLOWED, _DENIED, _DECISIONS)
"""The series whose growth is read."""
_GAUGES = (KEYS_AGE, GATE_THERE)
_WANTED = {*COUNTERS, *_GAUGES}
_MANAGER, _POLICY = "envoy_http_conn_manager_prefix", "envoy_rbac_policy_name"
_LABELS = (
    *("pod", "le", "gate", "reason", "envoy_response_code_class"),
    *(_MANAGER, _POLICY, "envoy_rbac_http_prefix"),
)
_ISTIOS = re.compile(
    r"^envoy_http_\w+_rbac_gate_policy_(daypass_\w+)_(allowed|denied)(?:{(.*)})? ", re.ASCII
)
"""Istio's proxies take no labels out of the names of the gate's series."""
_AS_ENVOYS = (
    r'envoy_http_rbac_policy_\2{envoy_rbac_http_prefix="gate",envoy_rbac_policy_name="\1",\3} '
)
_LONGEST_LINE, _MOST_LINES = 1024, 20_000
_LONGEST = 64

Labels = frozenset[tuple[str, str]]
Series = Mapping[tuple[str, Labels], float]
"""What a program answers: values by name and labels."""


class NoMetricsError(ValueError):
    """A text is not what a program or a Prometheus answers."""


class Sample(NamedTuple):
    """The value of a series: of a counter, how much it grows a second."""

    name: str
    labels: Mapping[str, str]
    value: float


class Samples:
    """What was read of door, gates and watch."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._all = [each for each in samples if math.isfinite(each.value) and each.value >= 0]

    def __bool__(self) -> bool:
        return bool(self._all)

    def by(
        self, label: str, name: str, *, pods: Collection[str] | None = None, **labels: str
    ) -> dict[str, float]:
        """Return sums by a label, of the samples that have these other labels."""
        sums: dict[str, float] = defaultdict(float)
        for each in self._all:
            is_wanted = each.name == name and labels.items() <= each.labels.items()
            if is_wanted and (pods is None or each.labels.get("pod") in pods):
                sums[printable(each.labels.get(label, ""), _LONGEST)] += each.value
        return dict(sums)

    def quantiles(self, **labels: str) -> tuple[float | None, float | None]:
        """Return the seconds within which 50 % and 99 % of requests are answered."""
        found = ((_number(le), rate) for le, rate in self.by("le", _TIMES, **labels).items())
        buckets = sorted(each for each in found if not math.isnan(each[0]))
        if len(buckets) < 2 or buckets[-1][0] != math.inf or not buckets[-1][1] > 0:
            return None, None
        return _quantile(0.5, buckets) / 1000, _quantile(0.99, buckets) / 1000  # milliseconds

    def _of_listener(self, manager: str, reasons: Mapping[str, float]) -> Traffic:
        """Return what passes a listener of ours: 4xx is refused, by it or by what is behind it."""
        classes = self.by("envoy_response_code_class", _CLASSES, **{_MANAGER: manager})
        rate = sum(classes.values()) if classes else None
        p50, p99 = self.quantiles(**{_MANAGER: manager})
        return Traffic(
            rate=rate,
            refused=classes.get("4", 0.0) / rate if rate else None,
            failed=classes.get("5", 0.0) / rate if rate else None,
            p50=p50,
            p99=p99,
            reasons={reason: each for reason, each in reasons.items() if each > 0},
        )

    def of_door(self) -> Traffic:
        """Return what passes the door."""
        door = {_MANAGER: "door"}
        reasons = self.by(_POLICY, _ALLOWED, **door) | self.by(_POLICY, _DENIED, **door)
        return self._of_listener("door", {k: v for k, v in reasons.items() if k != "forwarded"})

    def of_gate(self, name: str, pods: Collection[str] | None = None) -> Traffic:
        """Return what a gate decides: in the Envoys of its gateway, and in the authorizer.

        `pods`: of its gateway; None: there is one gateway.
        """
        reasons: dict[str, float] = defaultdict(float)
        gate, rule = {"envoy_rbac_http_prefix": "gate"}, "daypass-"
        for policy, rate in self.by(_POLICY, _DENIED, pods=pods, **gate).items():
            reasons[policy.replace("_", "-").removeprefix(rule)] += rate
        accepted = self.by("", _ALLOWED, pods=pods, **gate).get("")
        decided = self.by("reason", _DECISIONS, gate=name)
        passed = decided.pop(Reason.ALLOWED, accepted)
        for reason, rate in decided.items():
            reasons[reason] += rate
        if passed is None and not reasons:
            return Traffic()
        refused = sum(reasons.values())
        rate = (passed or 0.0) + refused
        on_machine = self._of_listener("gate", reasons)
        return replace(on_machine, rate=rate, refused=refused / rate if rate else None)


def _quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    """Return a quantile of cumulative buckets, as Prometheus' histogram_quantile does."""
    rank = share * buckets[-1][1]
    at = bisect_left(buckets, rank, key=lambda each: each[1])
    if at >= len(buckets) - 1:
        return buckets[-2][0]
    low, before = buckets[at - 1] if at else (0.0, 0.0)
    high, until = buckets[at]
    return low + (high - low) * (rank - before) / (until - before) if until > before else high


def _number(text: object) -> float:
    try:
        return float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return math.nan


def parse_exposition(text: str) -> Series:
    """Return the wanted series of a text in Prometheus's format. Raises NoMetricsError."""
    from prometheus_client.parser import text_string_to_metric_families

    short = (line for line in text.split("\n") if len(line) <= _LONGEST_LINE)
    lines = (_ISTIOS.sub(_AS_ENVOYS, line, count=1) for line in short)
    all_wanted = (line for line in lines if re.split(r"[ {]", line, maxsplit=1)[0] in _WANTED)
    wanted = [*islice(all_wanted, _MOST_LINES)]
    if len(wanted) == _MOST_LINES:
        raise NoMetricsError("too many series")
    try:
        families = [*text_string_to_metric_families("\n".join([*wanted, ""]))]
    except Exception as error:  # the parser checks little, and raises whatever follows
        raise NoMetricsError(f"not in Prometheus's format: {type(error).__name__}") from None
    samples = (each for family in families for each in family.samples)
    return {(each.name, frozenset(each.labels.items())): float(each.value) for each in samples}


def query(window_seconds: int) -> str:
    """Return the PromQL for all series at once, each with its name as the label `series`."""
    by = f"sum by ({', '.join(_LABELS)})"
    rates = [f"{by} (rate({name}[{window_seconds}s]))" for name in COUNTERS]
    every = zip((*COUNTERS, *_GAUGES), (*rates, *_GAUGES), strict=True)
    return " or ".join(f'label_replace({of}, "series", "{name}", "", "")' for name, of in every)


def parse_vector(text: str) -> Iterator[Sample]:
    """Yield the samples in Prometheus's answer to `query`. Raises NoMetricsError."""
    try:
        for each in json.loads(text)["data"]["result"]:
            labels = {str(name): str(value) for name, value in each["metric"].items()}
            yield Sample(labels.pop("series", ""), labels, _number(each["value"][1]))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise NoMetricsError("not an answer of Prometheus") from None
