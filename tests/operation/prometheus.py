"""A real Prometheus: what it scrapes, its rules, and what it answers."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.children import Child
from support.deadline import eventually
from support.http_services import Handler, serving

Jobs = Mapping[str, Sequence[str]]
"""What a job scrapes of `served_texts`, by name."""
Relabelings = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """One that runs; `url` is its address."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API. Raises AssertionError with its error."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query: `metric` has the labels, `value` time and number."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def wait_for_targets(self) -> None:
        """Come back once each target was scraped. Raises TimeoutError with the last errors."""

        def scraped() -> bool:
            states = {
                each["scrapeUrl"]: each["lastError"] or each["health"]
                for each in self.get("targets")["activeTargets"]
            }
            assert set(states.values()) == {"up"}, states
            return True

        eventually("every target is scraped", scraped)


def _config(address: str, jobs: Jobs, rules: Path, relabelings: Relabelings) -> str:
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": job,
                "metric_relabel_configs": [*map(as_prometheus_writes, relabelings.get(job, ()))],
                "static_configs": [
                    {
                        "targets": [address],
                        "labels": {"namespace": "daypass", "__metrics_path__": f"/{name}"},
                    }
                    for name in names
                ],
            }
            for job, names in jobs.items()
        ],
    }
    return json.dumps(config)  # it is YAML, too


@contextmanager
def running_prometheus(
    folder: Path, address: str, jobs: Jobs, *, rules: Path, relabelings: Relabelings
) -> Iterator[Prometheus]:
    """One with its data in `folder`, which scrapes every second.

    `relabelings`: `metricRelabelings` of a monitor, by the name of the job.
    """
    file = folder / "prometheus.yml"
    file.write_text(_config(address, jobs, rules, relabelings))
    child = Child(
        ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
         "--web.listen-address=127.0.0.1:0"],
        log=folder / "prometheus.log", folder=folder,
    )  # fmt: skip
    try:

        def listens_at() -> str | None:
            child.check()
            found = re.search(r'msg="Listening on" address=(\S+)', child.log.read_text())
            return found and found[1]

        running = Prometheus(url=f"http://{eventually('it listens', listens_at)}")
        eventually("it is ready", lambda: running.get("status/runtimeinfo"))
        yield running
    finally:
        child.stop()


def as_prometheus_writes(relabeling: Mapping[str, Any]) -> dict[str, Any]:
    """A relabeling of a PodMonitor in a file of Prometheus."""
    keys = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {keys.get(key, key): value for key, value in relabeling.items()}


@contextmanager
def served_texts(texts: Mapping[str, str]) -> Iterator[str]:
    """A server of recorded metrics, by name: its address. `/NAME` has those of a name, whose
    counters and histograms grow with each scrape.
    """
    scrapes: Counter[str] = Counter()

    def grown(name: str) -> str:
        scrapes[name] += 1
        growing = set(re.findall(r"^# TYPE (\S+) (?:counter|histogram)$", texts[name], re.M))

        def line(found: re.Match[str]) -> str:
            if not {found[1], re.sub("_(bucket|count|sum)$", "", found[1])} & growing:
                return found[0]
            return f"{found[1]}{found[2]} {float(found[3]) * scrapes[name]}"

        return re.sub(r"^(\w+)((?:\{.*\})?) (\S+)$", line, texts[name], flags=re.M)

    class Answering(Handler):
        def do_GET(self) -> None:
            text = grown(self.path.removeprefix("/"))
            self.answer(200, text, content_type="text/plain; version=0.0.4")

    with serving(Answering) as port:
        yield f"127.0.0.1:{port}"
