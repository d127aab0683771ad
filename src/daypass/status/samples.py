"""Samples of metrics, and what is computed of them. What is no number is left out."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from daypass._core.errors import DaypassError
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
AUTHORITY_EXPIRES = "envoy_cluster_ssl_certificate_expiration_unix_time_seconds"
_GAUGES = (KEYS_AGE, GATE_THERE, AUTHORITY_EXPIRES)
_WANTED = {*COUNTERS, *_GAUGES}
_CLASS = "envoy_response_code_class"
_MANAGER, _POLICY = "envoy_http_conn_manager_prefix", "envoy_rbac_policy_name"
_LABELS = (
    *("pod", "le", "gate", "reason", _CLASS),
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

_NONE: Mapping[str, str] = {}

Counts = Mapping[str, float]
Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""What a program answers: values by name and labels."""


class NoMetricsError(DaypassError):
    """A text is not what a program or a Prometheus answers."""


class Sample(NamedTuple):
    """The value of a series: of a counter, how much it grows a second, and its `total`."""

    name: str
    labels: Mapping[str, str]
    value: float
    total: float = 0.0


class Samples:
    """What was read of door, gates and watch.

    Shares and times are of the requests that ended while it was read; where none did, of all since
    the start of the processes.
    """

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        numbers = (each for each in samples if math.isfinite(each.value + each.total))
        self._all = [each for each in numbers if min(each.value, each.total) >= 0]

    def __bool__(self) -> bool:
        return bool(self._all)

    def totals(self) -> Samples:
        """Return the same with totals as values."""
        return Samples(each._replace(value=each.total) for each in self._all)

    def by(
        self,
        label: str,
        name: str,
        labels: Mapping[str, str] = _NONE,
        pods: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Return sums by a label, of the samples that have these other labels."""
        sums: dict[str, float] = defaultdict(float)
        for each in self._all:
            is_wanted = each.name == name and labels.items() <= each.labels.items()
            if is_wanted and (pods is None or each.labels.get("pod") in pods):
                sums[printable(each.labels.get(label, ""), _LONGEST)] += each.value
        return dict(sums)

    def ended(self, name: str, labels: Mapping[str, str]) -> Samples:
        """Return these samples, or totals if a counter has not grown."""
        return self if any(self.by("", name, labels).values()) else self.totals()

    def quantiles(self, labels: Mapping[str, str] = _NONE) -> tuple[float | None, float | None]:
        """Return the seconds within which 50 % and 99 % of requests are answered."""
        counts = self.ended(_TIMES, labels).by("le", _TIMES, labels)
        found = ((_number(le), count) for le, count in counts.items())
        buckets = sorted(each for each in found if not math.isnan(each[0]))
        if len(buckets) < 2 or buckets[-1][0] != math.inf or not buckets[-1][1] > 0:
            return None, None
        return _quantile(0.5, buckets) / 1000, _quantile(0.99, buckets) / 1000  # milliseconds

    def of_door(self) -> Traffic:
        """Return what passes the door: 4xx is refused, by it or by the API server."""
        door = {_MANAGER: "door"}
        ended = self.ended(_CLASSES, door)
        classes = ended.by(_CLASS, _CLASSES, door)
        reasons = ended.by(_POLICY, _ALLOWED, door) | ended.by(_POLICY, _DENIED, door)
        reasons.pop("forwarded", None)
        rate, requests = self.by("", _CLASSES, door).get(""), sum(classes.values())
        return self._traffic("door", rate, requests, classes.get("4", 0.0), reasons)

    def of_gate(self, name: str, pods: Collection[str] | None = None) -> Traffic:
        """Return what a gate decides: in the Envoys of its gateway, and in the authorizer.

        `pods`: of its gateway; None: there is one gateway.
        """
        decided = self._decisions(name, pods)
        rate = sum(decided.values()) if decided else None
        reasons = decided if rate else self.totals()._decisions(name, pods)
        requests = sum(reasons.values())
        refused = requests - reasons.pop(Reason.ALLOWED, 0.0)
        return self._traffic("gate", rate, requests, refused, reasons)

    def _decisions(self, gate: str, pods: Collection[str] | None) -> dict[str, float]:
        envoys = {"envoy_rbac_http_prefix": "gate"}
        reasons = defaultdict(float, self.by("reason", _DECISIONS, {"gate": gate}))
        for passed in self.by("", _ALLOWED, envoys, pods).values():
            reasons.setdefault(Reason.ALLOWED, passed)
        for policy, count in self.by(_POLICY, _DENIED, envoys, pods).items():
            reasons[policy.replace("_", "-").removeprefix("daypass-")] += count
        return reasons

    def _traffic(
        self, manager: str, rate: float | None, requests: float, refused: float, reasons: Counts
    ) -> Traffic:
        listener = {_MANAGER: manager}
        classes = self.ended(_CLASSES, listener).by(_CLASS, _CLASSES, listener)
        answered = sum(classes.values())
        p50, p99 = self.quantiles(listener)
        return Traffic(
            rate=rate,
            refused=refused / requests if requests else None,
            failed=classes.get("5", 0.0) / answered if answered else None,
            p50=p50,
            p99=p99,
            reasons={name: each / requests for name, each in reasons.items() if each and requests},
        )


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
    """Return the PromQL for all series at once: their values, and how much counters grow.

    What grows has the series' name as the label `grows`.
    """
    by = f"sum by (__name__, {', '.join(_LABELS)})"
    rates = (
        f'label_replace({by} (rate({name}[{window_seconds}s])), "grows", "{name}", "", "")'
        for name in COUNTERS
    )
    return " or ".join([f'{by} ({{__name__=~"{"|".join(sorted(_WANTED))}"}})', *rates])


def parse_vector(text: str) -> Iterator[Sample]:
    """Yield the samples in Prometheus's answer to `query`. Raises NoMetricsError."""
    try:
        for each in json.loads(text)["data"]["result"]:
            labels = {str(name): str(value) for name, value in each["metric"].items()}
            name, value = labels.pop("__name__", ""), _number(each["value"][1])
            is_total = name in COUNTERS
            name = labels.pop("grows", name)
            yield Sample(name, labels, 0.0, value) if is_total else Sample(name, labels, value)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise NoMetricsError("not an answer of Prometheus") from None
