"""What the metrics of each part look like: scraped, judged by promtool, and kept for other tests.

`DAYPASS_SCRAPES=update pytest tests/operation/test_scrapes.py` writes the texts again.
"""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

SCRAPES = Path(__file__).parent.parent / "operation" / "scrapes"
_ENVOYS = re.compile(
    r"envoy_\w+ (no help text"
    r'|counter metrics should have "_total" suffix'
    r'|non-counter metrics should not have "_total" suffix'
    # Where the labels of a name are not taken out of it, as at Istio's gateways.
    r"|metric names should not contain abbreviated units"
    r"|metric name should not include type '\w+')"
)
"""What promtool finds in the names of Envoy's own series, which are Envoy's to choose."""


def scrape(address: str) -> str:
    """What Prometheus would get from HOST:PORT."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def lints(text: str) -> list[str]:
    """What `promtool check metrics` finds, but for the names of Envoy's own series."""
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert checked.returncode in (0, 3), checked.stderr
    found = (checked.stdout + checked.stderr).splitlines()
    return [line for line in found if not _ENVOYS.fullmatch(line)]


def values(text: str, name: str, **labels: str) -> dict[str, float]:
    """The values of a series that has these labels, by its further labels as text."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser adds the suffix to counters of Envoy, which have none.
            if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items():
                others = {k: v for k, v in sorted(sample.labels.items()) if k not in labels}
                found[",".join(f"{k}={v}" for k, v in others.items())] = sample.value
    return found


def keep(name: str, text: str) -> None:
    """Fail if promtool finds something, or if there are other series than in the kept text."""
    assert lints(text) == []
    file = SCRAPES / f"{name}.txt"
    if os.environ.get("DAYPASS_SCRAPES") == "update":
        SCRAPES.mkdir(exist_ok=True)
        file.write_text(text)
    assert _series(text) == _series(file.read_text())


def has_all(name: str, text: str) -> bool:
    """Whether a text has every series of the kept one: some come only once they have a value."""
    return _series(text) >= _series((SCRAPES / f"{name}.txt").read_text())


def _series(text: str) -> set[tuple[str, ...]]:
    """The names of all series, and those of their labels."""
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return {(sample.name, *sorted(sample.labels)) for sample in samples}
