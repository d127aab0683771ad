"""A real Prometheus: what it scrapes, its rules, and what it answers."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from support.children import Child
from support.deadline import eventually

PROGRAM = "prometheus"
TIMEOUT_SECONDS = 30
Relabelings = Mapping[str, Sequence[Mapping[str, Any]]]
NONE: Relabelings = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An endpoint to scrape: `address` has host and port. `labels`: as of its Pod."""

    job: str
    address: str
    labels: Mapping[str, str]
    path: str = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """One that runs; `url` is its address."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API. Raises AssertionError with its error."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
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


def _config(targets: Sequence[Target], rules: Path, relabelings: Relabelings) -> str:
    jobs: dict[str, list[Target]] = {}
    for each in targets:
        jobs.setdefault(each.job, []).append(each)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": job,
                "metric_relabel_configs": [*map(as_prometheus_writes, relabelings.get(job, ()))],
                "static_configs": [
                    {
                        "targets": [each.address],
                        "labels": {**each.labels, "__metrics_path__": each.path},
                    }
                    for each in of_job
                ],
            }
            for job, of_job in jobs.items()
        ],
    }
    return json.dumps(config)  # it is YAML, too


@contextmanager
def running_prometheus(
    folder: Path,
    *targets: Target,
    rules: Path,
    relabelings: Relabelings = NONE,
) -> Iterator[Prometheus]:
    """One with its data in `folder`, which scrapes every second.

    `relabelings`: `metricRelabelings` of a monitor, by the name of the job.
    """
    file = folder / "prometheus.yml"
    file.write_text(_config(targets, rules, relabelings))
    child = Child(
        [PROGRAM, f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
         "--web.listen-address=127.0.0.1:0"],
        log=folder / "prometheus.log", folder=folder,
    )  # fmt: skip
    try:

        def address() -> str | None:
            child.check()
            found = re.search(r'msg="Listening on" address=(\S+)', child.log.read_text())
            return found and found[1]

        running = Prometheus(url=f"http://{eventually('it listens', address)}")
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
    """A server of recorded metrics, by name: its address. `/NAME/metrics` has those of a name,
    whose counters grow with each scrape.
    """
    scrapes: dict[str, int] = {}

    def grown(name: str) -> str:
        scrapes[name] = scrapes.get(name, 0) + 1
        counters = set(re.findall(r"^# TYPE (\S+) counter$", texts[name], re.MULTILINE))

        def line(found: re.Match[str]) -> str:
            if found[1] not in counters:
                return found[0]
            return f"{found[1]}{found[2]} {float(found[3]) * scrapes[name]}"

        return re.sub(r"^(\w+)(\{.*\})? (\S+)$", line, texts[name], flags=re.MULTILINE)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(grown(self.path.split("/")[1]).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
