"""The status of door and gate on one machine, as `daypass up` runs them."""

from __future__ import annotations

from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from daypass._core import VERSION
from daypass._core.clock import Clock
from daypass._core.findings import failure
from daypass._core.hints import command
from daypass.config import Config, TlsFiles
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.local.state import runs_from
from daypass.status.cluster import ClusterView, days_left
from daypass.status.judgement import judge_domains, judge_identities, judge_part, worst_first
from daypass.status.report import DomainState, Overview, PartState
from daypass.status.sources import ANSWER_SECONDS, Prometheus, Reading, Scrapes, Target, unknown


def read_machine(
    config: Config,
    state: Path,
    cluster: Cluster | None,
    source: Prometheus | Scrapes,
    clock: Clock,
) -> Overview:
    """Return the status of what runs from a state folder. `cluster`: its API server, if known."""
    is_running, parts, reading = runs_from(state), list[PartState](), Reading()
    if is_running:
        reading = source.read() if isinstance(source, Prometheus) else _metrics(config, source)
    view = ClusterView(cluster, config) if cluster is not None and is_running else None
    if is_running:
        parts.append(PartState(name="door", traffic=reading.samples.of_door()))
    if is_running and (gate := config.local_gate) is not None:
        traffic = reading.samples.of_gate(gate[0])
        parts.append(PartState(name=f"gate {gate[0]}", traffic=traffic))
    domains, identities = _domains(config, clock), view.identities() if view else None
    stopped = failure("up", f"nothing runs from {state}", command("up"))
    findings = [
        *([] if is_running else [stopped]),
        *(finding for part in parts for finding in judge_part(part, "", "")),
        *judge_domains(domains, {each.name: _renewal(each) for each in domains}),
        *judge_identities(identities),
        *(view.findings if view else ()),
        *reading.notes,
    ]
    return Overview(
        version=VERSION,
        place=str(state),
        metrics=reading.source,
        findings=worst_first(findings),
        domains=domains,
        parts=parts,
        identities=identities,
    )


def _domains(config: Config, clock: Clock) -> list[DomainState]:
    found = []
    for name, domain in config.domains.items():
        certificate, days = "automatic", None
        if isinstance(domain.tls, TlsFiles):
            certificate = str(domain.tls.files.certificate)
            with suppress(OSError):
                days = days_left(domain.tls.files.certificate.read_bytes(), clock)
        host, front = domain.host, domain.front
        found.append(
            DomainState(name=name, host=host, front=front, certificate=certificate, days=days)
        )
    return found


def _renewal(domain: DomainState) -> str:
    return f"write a new certificate to {domain.certificate}, and its key: they are read at once"


def _metrics(config: Config, scrapes: Scrapes) -> Reading:
    listen = config.local.metrics
    if listen is None or not listen.port:
        fact = "rates are not known: local.metrics names no port"
        return Reading(notes=[unknown("metrics", fact, "write local: {metrics: 127.0.0.1:9002}")])
    server = ConnectionConfig(server=f"http://{listen}", namespace="", origin="local.metrics")
    with closing(Cluster(server)) as envoy:
        read = partial(envoy.read_text, "/metrics", what="read metrics", seconds=ANSWER_SECONDS)
        return scrapes.read([Target(name="Envoy", read=read)])
