"""Prometheus reads what docs/how-to/monitoring.md has for it, and names series as we render it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tools.docs.pages import Block, all_pages

from daypass.render.engines.istio import IstioEngine
from daypass.render.monitoring import alerts_text
from docs.data import PROMETHEUS, documents_in, kinds_in
from operation.prometheus import as_prometheus_writes
from support.programs import output_of

BLOCKS = [
    block
    for page in all_pages()
    for block in page.blocks
    if block.language == "yaml" and PROMETHEUS in kinds_in(block)
]


@pytest.mark.parametrize("block", BLOCKS, ids=[block.place for block in BLOCKS])
def test_prometheus_reads_it(block: Block, tmp_path: Path) -> None:
    """All but what finds Pods: Debian's Prometheus is built without it."""
    (document,) = documents_in(block)
    for job in document["scrape_configs"]:
        job.pop("kubernetes_sd_configs", None)
    (tmp_path / "prometheus.yml").write_text(json.dumps(document))
    (tmp_path / "daypass-alerts.yaml").write_text(alerts_text())
    output_of("promtool", "check", "config", "prometheus.yml", folder=tmp_path)


def test_a_prometheus_of_ones_own_names_series_as_the_operator_does() -> None:
    jobs: list[dict[str, Any]] = [
        job for block in BLOCKS for document in documents_in(block)
        for job in document["scrape_configs"]
    ]  # fmt: skip
    (gateway,) = (job for job in jobs if "metric_relabel_configs" in job)
    rendered = [*map(as_prometheus_writes, IstioEngine.metrics.relabelings)]
    assert gateway["metric_relabel_configs"] == rendered
    assert gateway["metrics_path"] == IstioEngine.metrics.path
