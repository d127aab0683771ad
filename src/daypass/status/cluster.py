"""The status of a cluster: what its user may see, and a note about each thing that is not known."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from cryptography import x509

from daypass._core import VERSION, labels
from daypass._core.clock import Clock, parse_rfc3339, time_in
from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, failure
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.objects import Object, name_of
from daypass._core.parallel import in_parallel
from daypass.config import Config, TlsIssuer
from daypass.deploy.cluster_state import read_cluster_state
from daypass.deploy.plan import RejectedObjectsError, make_plan
from daypass.identity.health import examine_times
from daypass.identity.records import ClusterObjects
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ClusterUnreachableError, ForbiddenError
from daypass.kube.lease import DURATION_SECONDS
from daypass.kube.published_objects import UnreadablePartError, read_lacking, read_object
from daypass.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    LEASES,
    OTHER_SECRETS,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    TOKEN_SECRETS,
)
from daypass.render.fronts import AnyFront, fronts_of
from daypass.render.monitoring.monitors import Scraped, scraped
from daypass.render.names import DOOR, GATE, GATE_WATCH
from daypass.rules.credentials import CLUSTER_PARTS
from daypass.rules.published import Published
from daypass.status.judgement import (
    SOON_DAYS,
    UNUSED_DAYS,
    judge_domains,
    judge_drift,
    judge_gateway,
    judge_identities,
    judge_part,
    judge_published,
    worst_first,
)
from daypass.status.report import DomainState, IdentitiesState, Overview, PartState, PublishedState
from daypass.status.samples import GATE_THERE, KEYS_AGE, Samples
from daypass.status.sources import (
    ANSWER_SECONDS,
    Prometheus,
    Reading,
    Scrapes,
    Target,
    find_prometheus,
    unknown,
)

T = TypeVar("T")
_DAY_SECONDS = 86_400
_CLOCKS_DIFFER_SECONDS = 5
_OVERDUE = {"deadline-passed", "retirement-overdue", "unreadable-time"}
_NAMES = {DOOR: "door", GATE: "authorizer", GATE_WATCH: "watch"}
_NO_METRICS = "rates are not known: metrics.scrapedFrom names no namespace with a Prometheus"
_OPEN_METRICS = "write that, or metrics: {podProxy: true}, or name one: --prometheus URL"


def read_cluster(
    cluster: Cluster, config: Config, prometheus: Prometheus | None, scrapes: Scrapes
) -> Overview:
    """Return the status of a cluster. Raises ClusterUnreachableError, UnauthorizedError."""
    view = ClusterView(cluster, config)
    with ThreadPoolExecutor() as pool:
        compared, known = pool.submit(view.drift), pool.submit(view.published)
        certified, counted = pool.submit(view.domains), pool.submit(view.identities)
        workloads = list(scraped(config))
        seen = in_parallel(view.pods, workloads)
        pairs = [*zip(workloads, seen, strict=True)]
        found = ((one, pod) for one, (_, pods) in pairs for pod in pods)
        targets = [each for one, pod in found for each in _targets(cluster, one, pod)]
        reading = view.metrics(prometheus, scrapes, targets)
        drift, domains, identities = compared.result(), certified.result(), counted.result()
        published = known.result()
    parts, findings = _judged(pairs, reading.samples)
    if published is not None:
        ages = reading.samples.by("pod", KEYS_AGE).values()
        published = replace(published, keys=max(ages, default=None))
    findings += judge_published(published, config.watch.close_after_seconds, view.home)
    renewals = {each.name: _renewal(each) for each in fronts_of(config)}
    findings += [*judge_domains(domains, renewals), *judge_drift(drift)]
    findings += [*judge_identities(identities), *view.findings, *reading.notes]
    return Overview(
        version=VERSION,
        place=cluster.connection.server,
        metrics=reading.source,
        findings=worst_first(findings),
        domains=domains,
        parts=parts,
        published=published,
        identities=identities,
        drift=drift,
    )


def _judged(
    seen: Sequence[tuple[Scraped, tuple[PartState, list[Object]]]], samples: Samples
) -> tuple[list[PartState], list[Finding]]:
    """Return Pods with what passes them, and what is wrong with them."""
    parts, findings = list[PartState](), list[Finding]()
    for one, (part, pods) in seen:
        if one.gate:
            names = {name_of(pod) for pod in pods} if part.ready is not None else None
            part = replace(part, traffic=samples.of_gate(one.gate, names))
            findings += judge_gateway(one.gate, names or (), samples.by("pod", GATE_THERE))
        elif one.name == DOOR:
            part = replace(part, traffic=samples.of_door())
        parts.append(part)
        findings += judge_part(part, one.namespace, labels.selector(one.labels))
    return parts, findings


@dataclass(slots=True)
class ClusterView:
    """A cluster, as its user sees it. `findings`: what it lacks, and rights that the user lacks."""

    cluster: Cluster
    config: Config
    findings: list[Finding] = field(default_factory=list)

    @property
    def home(self) -> str:
        """The namespace of door, authorizer and watch."""
        return self.config.door.namespace

    def see(self, what: str, look: Callable[[], T]) -> T | None:
        """Return what `look` does; None, with a note, if the user may not see that."""
        try:
            return look()
        except ForbiddenError as error:
            may_not = error.fact.partition(":")[0].replace("cannot", "you may not", 1)
            self.findings.append(unknown("rights", f"{what}: {may_not}", error.hint))
            return None

    def pods(self, of: Scraped) -> tuple[PartState, list[Object]]:
        """Return the state of Pods, and those that are needed for their metrics or of a gateway."""
        part = PartState(name=_NAMES.get(of.name, f"gate {of.gate}"))
        listed: list[Object] | None = []
        if of.gate or self.config.metrics.pod_proxy:
            selected = labels.selector(of.labels)
            look = partial(self.cluster.list, PODS, of.namespace, labels=selected)
            listed = self.see(f"the Pods of {part.name}", look)
        if of.gate:
            if listed is not None:
                part = replace(part, ready=sum(map(_is_ready, listed)), wanted=len(listed))
            return part, listed or []
        find = partial(self.cluster.find, DEPLOYMENTS, of.name, of.namespace)
        document = self.see(f"whether {part.name} is ready", lambda: find() or {})
        if document == {}:
            fact = f"there is no Deployment {of.namespace}/{of.name}"
            self.findings.append(failure("replicas", fact, command("apply")))
        elif document:
            ready = (document.get("status") or {}).get("readyReplicas") or 0
            wanted, pod = document["spec"].get("replicas", 1), document["spec"]["template"]["spec"]
            image = pod["containers"][0]["image"]
            part = replace(part, ready=ready, wanted=wanted, image=image)
        return part, listed or []

    def metrics(
        self, prometheus: Prometheus | None, scrapes: Scrapes, targets: Sequence[Target]
    ) -> Reading:
        """Return what a Prometheus knows or, if the config opens that, the Pods themselves."""
        metrics = self.config.metrics
        look = partial(find_prometheus, self.cluster, metrics.scraped_from)
        prometheus = prometheus or self.see("whether there is a Prometheus", look)
        reading = Reading() if prometheus is None else prometheus.read()
        if metrics.pod_proxy and not reading.source:
            scraped = scrapes.read(targets)
            return replace(scraped, notes=[*reading.notes, *scraped.notes])
        if prometheus is None:
            return Reading(notes=[unknown("metrics", _NO_METRICS, _OPEN_METRICS)])
        return reading

    def domains(self) -> list[DomainState]:
        """Return the domains; those whose Secret is missing are found."""
        fronts = fronts_of(self.config)
        return [
            DomainState(
                name=front.name,
                host=front.domain.host,
                front=front.kind(),
                certificate=_certificate(front),
                days=days,
            )
            for front, days in zip(fronts, in_parallel(self._days, fronts), strict=True)
        ]

    def _days(self, front: AnyFront) -> int | None:
        name, namespace = front.certificate_secret, front.certificate_namespace
        if name is None:
            return None
        look = partial(self.cluster.find, SECRETS, name, namespace)
        secret = self.see(f"when the certificate of {front.name} expires", lambda: look() or {})
        if secret == {}:
            fact = f"{front.domain.host} has no certificate: no Secret {namespace}/{name}"
            self.findings.append(failure("certificate", fact, _renewal(front)))
        with suppress(ValueError):
            chain = ((secret or {}).get("data") or {}).get("tls.crt") or ""
            return days_left(base64.b64decode(chain), self.cluster.clock)
        return None

    def published(self) -> PublishedState | None:
        """Return what the gates know; None without a gate."""
        if not self.config.cluster_gates:
            return None
        find = partial(self.cluster.find, LEASES, GATE_WATCH, self.home)
        lease = self.see("which Pod publishes", lambda: find() or {})
        look = partial(self.cluster.list, CONFIG_MAPS, self.home, labels=f"{labels.PUBLISHED}=true")
        documents = self.see("what the gates know", look)
        state = PublishedState(leader=None if lease is None else self._holder(lease))
        if documents is None:
            return state
        known, lacking = Published.closed(CLUSTER_PARTS), set[str]()
        for each in documents:
            with suppress(UnreadablePartError):  # it counts as closed
                known = read_object(each, known)
                lacking |= {*filter(None, read_lacking(each).split(", "))}
        closes_unix = min(known.denials.closes_unix, *(each.closes_unix for each in known.parts))
        closes = closes_unix - self._now() if closes_unix else 0.0
        age = self.config.watch.close_after_seconds - closes if closes_unix else None
        return replace(
            state,
            credentials=known.count,
            age=age,
            closes=closes,
            lacking=", ".join(sorted(lacking)),
        )

    def _now(self) -> float:
        """Return the time by the API server's clock, which this machine's may differ from."""
        return self.cluster.clock.unix() - self.cluster.clock_ahead_seconds

    def _holder(self, lease: Object) -> str:
        spec = lease.get("spec") or {}
        renewed = parse_rfc3339(str(spec.get("renewTime")))
        limit = DURATION_SECONDS + _CLOCKS_DIFFER_SECONDS
        is_held = renewed is not None and self._now() - renewed.timestamp() < limit
        return str(spec.get("holderIdentity") or "") if is_held else ""

    def identities(self) -> IdentitiesState | None:
        """Return the identities that need a look; only metadata are requested."""
        look, clock = partial(self.cluster.list, metadata_only=True), self.cluster.clock
        looks = (
            partial(look, SERVICE_ACCOUNTS, labels=labels.SELECTOR),
            partial(look, SECRETS, fields=TOKEN_SECRETS),
            partial(look, SECRETS, fields=OTHER_SECRETS, labels=labels.SELECTOR),
        )
        accounts, tokens, anchors = in_parallel(partial(self.see, "the identities"), looks)
        if accounts is None or tokens is None or anchors is None:
            return None
        objects = ClusterObjects(
            accounts=accounts, bindings=(), secrets=tokens, other_secrets=anchors
        )
        every = examine_times(objects, clock, unused_seconds=UNUSED_DAYS * _DAY_SECONDS)
        codes = {each.record.name.key: {it.check for it in each.findings} for each in every}
        now, soon = time_in(clock, 0), time_in(clock, SOON_DAYS * _DAY_SECONDS)
        deadlines = ((each.record.annotations.get(labels.DEADLINE), each) for each in every)
        ends = sorted((time, it.record.name.key) for time, it in deadlines if time)
        return IdentitiesState(
            total=len(every),
            overdue=[key for key, found in codes.items() if found & _OVERDUE],
            expiring=[f"{key} ({time[:10]})" for time, key in ends if now < time < soon],
            unused=[key for key, found in codes.items() if "unused" in found],
            federated=sum(any(it.is_anchor for it in each.live) for each in every),
        )

    def drift(self) -> list[str] | None:
        """Return the objects that differ from the config; what else is wrong with them is found."""
        try:
            plan = make_plan(read_cluster_state(self.cluster), self.config)
        except ClusterUnreachableError:
            raise
        except (ForbiddenError, RejectedObjectsError) as error:
            lacks = error.fact.partition(":")[0]
            fact = f"what differs from the config is not known: {lacks}"
            self.findings.append(unknown("drift", fact, command("diff")))
            return None
        except DaypassError as error:
            self.findings.append(failure("drift", error.fact, error.hint))
            return None
        self.findings += plan.findings
        changes = (each.ref for each in plan.changes if each.action in ("create", "change"))
        gone = (each.ref for each in plan.removals if each.action in ("remove", "release"))
        return [*map(str, changes), *map(str, gone)]


def _targets(cluster: Cluster, of: Scraped, pod: Object) -> Iterator[Target]:
    """Yield what serves metrics in a Pod, at a port of the monitors' name."""
    ports = [each for one in pod["spec"]["containers"] for each in one.get("ports") or ()]
    for port in (each for each in ports if each.get("name") == of.metrics.port):
        name = f"{of.namespace}/{name_of(pod)}"
        proxy = PODS.path(of.namespace, f"{name_of(pod)}:{port['containerPort']}", "proxy")
        read = partial(
            cluster.read_text,
            proxy + of.metrics.path,
            what=f"read the metrics of Pod {name}",
            seconds=ANSWER_SECONDS,
        )
        yield Target(name=f"Pod {name}", read=read, labels={"pod": name_of(pod)})


def days_left(chain: bytes, clock: Clock) -> int | None:
    """Return the days until the first certificate of a chain (PEM) expires, if it is one."""
    try:
        expires = x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc
    except ValueError:
        return None
    return int((expires.timestamp() - clock.unix()) // _DAY_SECONDS)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def _certificate(front: AnyFront) -> str:
    if isinstance(front.domain.tls, TlsIssuer):
        return f"issuer {front.domain.tls.issuer}"
    name = front.certificate_secret
    return "outside" if name is None else f"Secret {front.certificate_namespace}/{name}"


def _renewal(front: AnyFront) -> str:
    """Return what renews the certificate of a domain."""
    name, namespace = front.certificate_secret or "", front.certificate_namespace
    if isinstance(front.domain.tls, TlsIssuer):
        return kubectl("describe", "certificates", "-n", namespace)
    files = ("--cert", Placeholder("FILE"), "--key", Placeholder("FILE"))
    made = ("secret", "tls", name, "-n", namespace, *files, "--dry-run=client", "-o", "yaml")
    return f"{kubectl('create', *made)} | {kubectl('apply', '-f', '-')}"
