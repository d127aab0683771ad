"""Where metrics come from: a Prometheus, or door, gates and watch themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from urllib.parse import urlsplit

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import read_text
from daypass._core.findings import Finding, skipped
from daypass._core.kubernetes.objects import name_of
from daypass._core.net import is_loopback
from daypass._core.secret import Secret
from daypass._core.threads import in_parallel
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import SERVICES
from daypass.status.samples import (
    COUNTERS,
    Sample,
    Samples,
    Series,
    parse_exposition,
    parse_vector,
    query,
)

WINDOW_SECONDS = 300
"""Over which Prometheus computes rates."""
INTERVAL_SECONDS = 2.0
"""Between two scrapes, at least."""
ANSWER_SECONDS = 3.0
"""What does not answer within it has no metrics."""
_THREADS = 16
_LOGIN = "if it asks for a login: --prometheus-token-file FILE, with a bearer token"
_AUTHORITY = "if it has an authority of its own: SSL_CERT_FILE=FILE"
_SERVICES = ("operated-prometheus=true", "app.kubernetes.io/name=prometheus")
"""Labels of the Prometheus Operator's own Service, and of those that charts make."""
_PRINTED = re.compile(r"[!-~]+")
_WEB_PORTS = ("web", "http-web", "http", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read, and from where; "" if nothing was. `notes`: what could not be read."""

    samples: Samples = field(default_factory=Samples)
    source: str = ""
    notes: Sequence[Finding] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A Prometheus below a path of `server`: its own, or the API server that leads to it."""

    server: Cluster
    path: str
    name: str
    hint: str = ""

    def read(self) -> Reading:
        """Return the rates of the last minutes; what goes wrong is a note."""
        path, params = f"{self.path}/api/v1/query", {"query": query(WINDOW_SECONDS)}
        look = partial(self.server.read_text, what="query it", seconds=ANSWER_SECONDS)
        fact, hint = "it has no series of daypass now", "are targets up? docs/how-to/monitoring.md"
        try:
            samples = Samples(parse_vector(look(path, params=params)))
        except DaypassError as error:
            samples, hint = Samples(), self.hint or error.hint
            fact = error.fact.removeprefix("the API server ")
        if samples:
            source = f"Prometheus {self.name}, over {WINDOW_SECONDS // 60} min"
            return Reading(samples=samples, source=source)
        return Reading(notes=[skipped("metrics", f"Prometheus {self.name}: {fact}", hint)])


def prometheus_at(url: str, token_file: str | None) -> Prometheus:
    """Return the Prometheus at a URL, asked with a bearer token. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:
        parts, host = urlsplit(""), None
    if host is None or parts.query or not _PRINTED.fullmatch(url):
        raise UsageError("--prometheus: this is no URL", "such as http://127.0.0.1:9090")
    if "@" in parts.netloc:
        raise UsageError("--prometheus: others can see a password in a URL", _LOGIN)
    if token_file and parts.scheme == "http" and not is_loopback(host):
        raise UsageError("--prometheus-token-file: no token is sent over http", "use https")
    token = Secret(read_text(token_file, "token").strip()) if token_file else None
    server = ConnectionConfig(server=url.rstrip("/"), namespace="", origin=url, token=token)
    return Prometheus(server=Cluster(server), path="", name=url, hint=f"{_LOGIN}\n{_AUTHORITY}")


def find_prometheus(cluster: Cluster, namespaces: Iterable[str]) -> Prometheus | None:
    """Return the first Prometheus in these namespaces, behind the API server. Raises ApiError."""
    for namespace, selector in product(namespaces, _SERVICES):
        for service in cluster.list(SERVICES, namespace, labels=selector):
            name = name_of(service)
            for port in service["spec"].get("ports") or ():  # an ExternalName has none
                if port.get("name", "") in _WEB_PORTS:
                    path = SERVICES.path(namespace, f"{name}:{port['port']}", "proxy")
                    return Prometheus(server=cluster, path=path, name=f"{namespace}/{name}")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A program that serves metrics: what reads them, and its Pod, if it is one."""

    name: str
    read: Callable[[], str]
    pod: str = ""


class Scrapes:
    """Reads programs themselves, and computes rates from one reading to the next."""

    def __init__(self, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._last: tuple[float, Mapping[str, Series]] | None = None

    def read(self, targets: Sequence[Target]) -> Reading:
        """Return the rates since the last reading; the first time, it reads twice."""
        if self._last is None:
            self._last = self._clock.monotonic(), _scrape(targets)[0]
            self._sleep(INTERVAL_SECONDS)
        then, before = self._last
        now = self._clock.monotonic()
        found, notes = _scrape(targets)
        self._last, seconds = (now, found), max(now - then, 0.001)
        samples = Samples(
            sample
            for each in targets
            if each.name in found
            for sample in _rates(before.get(each.name), found[each.name], seconds, each.pod)
        )
        source = f"{len(found)} of {len(targets)} programs, over {seconds:.0f} s" if found else ""
        return Reading(samples=samples, source=source, notes=notes)


def _scrape(targets: Sequence[Target]) -> tuple[dict[str, Series], list[Finding]]:
    """Return what programs answer, by their names, and notes about those that do not."""
    found, notes = dict[str, Series](), dict[Finding, None]()

    def read(target: Target) -> None:
        try:
            found[target.name] = parse_exposition(target.read())
        except ForbiddenError as error:
            notes[skipped("rights", "rates: you may not read metrics of Pods", error.hint)] = None
        except DaypassError as error:
            notes[skipped("metrics", f"{target.name}: {error.fact}", error.hint)] = None

    in_parallel(read, targets, threads=_THREADS)
    return found, sorted(notes, key=lambda each: each.fact)


def _rates(before: Series | None, now: Series, seconds: float, pod: str) -> Iterator[Sample]:
    """Yield gauges, and how much counters have grown: one that is smaller has started again."""
    for (name, own), value in now.items():
        labels = {**dict(own), "pod": pod}
        if name not in COUNTERS:
            yield Sample(name, labels, value)
        elif before is not None:
            earlier = before.get((name, own), 0.0)
            grown = value - earlier if value >= earlier else value
            yield Sample(name, labels, grown / seconds, value)
