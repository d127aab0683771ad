"""What is known of a cluster or a machine: what its user may see, and a note about the rest."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from daypass._core import VERSION
from daypass._core.clock import Clock, parse_rfc3339, time_in
from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, failure, skipped
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass._core.threads import in_parallel
from daypass.analysis.checks import find_if_possible
from daypass.analysis.gateways import NOTHING_APPLIED
from daypass.config import Config, TlsFiles, TlsIssuer
from daypass.deploy.cluster_state import read_cluster_state
from daypass.deploy.plan import RejectedObjectsError, make_plan
from daypass.gate.publication import UnreadableShardError, read_lacking, read_object
from daypass.identity.health import examine
from daypass.identity.records import ClusterObjects
from daypass.kube import resources as kinds
from daypass.kube.cluster import Cluster
from daypass.kube.errors import (
    ApiError,
    ClusterUnreachableError,
    ForbiddenError,
    UnauthorizedError,
)
from daypass.kube.lease import DURATION_SECONDS
from daypass.local.state import runs_from
from daypass.render.fronts import AnyFront, fronts_of
from daypass.render.manifests import render_folders
from daypass.render.monitoring import Scraped, scraped
from daypass.render.names import DOOR, GATE, GATE_WATCH
from daypass.rules.published import CLUSTER_SHARDS, Published
from daypass.status import report
from daypass.status.report import (
    ComponentState,
    DomainState,
    IdentitiesState,
    Overview,
    PublishedState,
)

T = TypeVar("T")
_DAY_SECONDS = 86_400
_CLOCKS_DIFFER_SECONDS = 5
_OVERDUE = {"deadline-passed", "retirement-overdue", "unreadable-time"}
_NAMES = {DOOR: "door", GATE: "authorizer", GATE_WATCH: "watch"}


def read_cluster(cluster: Cluster, config: Config) -> Overview:
    """Return the status of a cluster. Raises ClusterUnreachableError, UnauthorizedError."""
    view, workloads = View(cluster, config), [*scraped(config)]
    findings = list[Finding]()
    with ThreadPoolExecutor() as pool:
        compared, known = pool.submit(view.drift), pool.submit(view.published)
        certified, counted = pool.submit(view.domains), pool.submit(view.identities)
        components = in_parallel(view.component, workloads)
        drift, published = compared.result(), known.result()
        domains, identities = certified.result(), counted.result()
    for of, state in zip(workloads, components, strict=True):
        selector = labels.selector(of.labels)
        findings += report.judge_component(state, of.namespace, selector)
    if published is not None:
        close_after, own_namespace = config.watch.close_after_seconds, config.door.namespace
        findings += report.judge_published(published, close_after, own_namespace)
    for front, domain in zip(fronts_of(config), domains, strict=True):
        findings += report.judge_certificate(domain.host, domain.days, _renewal(front))
    findings += [*report.judge_drift(drift), *view.findings]
    if NOTHING_APPLIED in findings:  # the rest follows from it
        findings, drift = [NOTHING_APPLIED], None
    findings += report.judge_identities(identities)
    return Overview(
        version=VERSION,
        target=cluster.connection.server,
        findings=report.worst_first(findings),
        domains=domains,
        components=components,
        published=published,
        identities=identities,
        drift=drift,
    )


def read_machine(config: Config, state: Path, cluster: Cluster | None, clock: Clock) -> Overview:
    """Return the status of what `daypass up` runs. `cluster`: its API server, if it is known."""
    findings, domains, identities = list[Finding](), list[DomainState](), None
    for name, domain in config.domains.items():
        if name in config.cluster_domains:
            continue
        days = None
        if isinstance(domain.tls, TlsFiles):
            file = domain.tls.files.certificate
            with suppress(OSError):
                days = _days_left(file.read_bytes(), clock)
            renew = f"write a new certificate to {file}, and its key: they are read at once"
            findings += report.judge_certificate(domain.host, days, renew)
        domains.append(DomainState(name=name, host=domain.host, front=domain.front, days=days))
    if not runs_from(state):
        findings.append(failure("up", f"nothing runs from {state}", command("up")))
    elif cluster is not None:
        view = View(cluster, config)
        identities = view.identities()
        findings += [*report.judge_identities(identities), *view.findings]
    return Overview(
        version=VERSION,
        target=str(state),
        findings=report.worst_first(findings),
        domains=domains,
        identities=identities,
    )


@dataclass(slots=True)
class View:
    """A cluster, as its user sees it. `findings`: what is wrong, and rights that the user lacks."""

    cluster: Cluster
    config: Config
    findings: list[Finding] = field(default_factory=list)

    def see(self, what: str, look: Callable[..., T], *of: object, **how: object) -> T | None:
        """Return what `look` does; None, with a note, if the API server refuses or lacks that."""
        try:
            return look(*of, **how)
        except UnauthorizedError:
            raise
        except ForbiddenError as error:
            may_not = error.fact.partition(":")[0].replace("cannot", "you may not", 1)
            self.findings.append(skipped("rights", f"{what}: {may_not}", error.hint))
        except ApiError as error:
            self.findings.append(skipped("api-server", f"{what}: {error.fact}", error.hint))
        return None

    def find(self, what: str, kind: kinds.Resource, name: str, namespace: str) -> Object | None:
        """Return an object, {} if there is none; None, with a note, if the user may not see it."""
        return self.see(what, lambda: self.cluster.find(kind, name, namespace) or {})

    def component(self, of: Scraped) -> ComponentState:
        """Return the state of the Pods of door, authorizer, watch or a gateway."""
        state = ComponentState(name=_NAMES.get(of.name, f"gate {of.gate}"))
        if of.gate:
            selected, what = labels.selector(of.labels), f"the Pods of {state.name}"
            pods = self.see(what, self.cluster.list, kinds.PODS, of.namespace, labels=selected)
            if pods is None:
                return state
            return replace(state, ready=sum(map(_is_ready, pods)), wanted=len(pods))
        what = f"whether {state.name} is ready"
        found = self.find(what, kinds.DEPLOYMENTS, of.name, of.namespace)
        if found == {}:
            fact = f"there is no Deployment {of.namespace}/{of.name}"
            self.findings.append(failure("replicas", fact, command("apply")))
        if not found:
            return state
        return replace(
            state,
            ready=(found.get("status") or {}).get("readyReplicas") or 0,
            wanted=found["spec"].get("replicas", 1),
            image=found["spec"]["template"]["spec"]["containers"][0]["image"],
        )

    def domains(self) -> list[DomainState]:
        """Return the domains."""
        return in_parallel(self._domain, fronts_of(self.config))

    def _domain(self, front: AnyFront) -> DomainState:
        name, namespace = front.certificate_secret, front.certificate_namespace
        host, days = front.domain.host, None
        if name is not None:
            what = f"when the certificate of {front.name} expires"
            secret = self.find(what, kinds.SECRETS, name, namespace)
            if secret == {}:
                fact = f"{host} has no certificate: no Secret {namespace}/{name}"
                self.findings.append(failure("certificate", fact, _renewal(front)))
            with suppress(ValueError):
                chain = ((secret or {}).get("data") or {}).get("tls.crt") or ""
                days = _days_left(base64.b64decode(chain), self.cluster.clock)
        return DomainState(name=front.name, host=host, front=front.kind(), days=days)

    def published(self) -> PublishedState | None:
        """Return what the gates know; None without a gate."""
        own_namespace = self.config.door.namespace
        if not self.config.cluster_gates:
            return None
        lease = self.find("which Pod publishes", kinds.LEASES, GATE_WATCH, own_namespace)
        leader = None if lease is None else self._leader(lease)
        what, selected = "what the gates know", f"{labels.PUBLISHED}=true"
        documents = self.see(
            what, self.cluster.list, kinds.CONFIG_MAPS, own_namespace, labels=selected
        )
        if documents is None:
            return PublishedState(leader=leader)
        known, lacking = Published.closed(CLUSTER_SHARDS), set[str]()
        for each in documents:
            with suppress(UnreadableShardError):  # it counts as closed
                known = read_object(each, known)
                lacking |= {*filter(None, read_lacking(each).split(", "))}
        closes_unix = min(known.denials.closes_unix, *(each.closes_unix for each in known.shards))
        closes = closes_unix - self.cluster.server_unix() if closes_unix else 0.0
        return PublishedState(
            leader=leader,
            credentials=known.count,
            age=self.config.watch.close_after_seconds - closes if closes_unix else None,
            closes=closes,
            lacking=", ".join(sorted(lacking)),
        )

    def _leader(self, lease: Object) -> str:
        spec = lease.get("spec") or {}
        renewed = parse_rfc3339(str(spec.get("renewTime")))
        limit = DURATION_SECONDS + _CLOCKS_DIFFER_SECONDS
        is_held = renewed is not None and self.cluster.server_unix() - renewed.timestamp() < limit
        return str(spec.get("holderIdentity") or "") if is_held else ""

    def identities(self) -> IdentitiesState | None:
        """Return the identities that need a look; only metadata are requested."""
        look, clock = partial(self.cluster.list, metadata_only=True), self.cluster.clock
        looks = (
            partial(look, kinds.SERVICE_ACCOUNTS, labels=labels.SELECTOR),
            partial(look, kinds.SECRETS, fields=kinds.TOKEN_SECRETS),
            partial(look, kinds.SECRETS, fields=kinds.OTHER_SECRETS, labels=labels.SELECTOR),
        )
        accounts, tokens, anchors = in_parallel(partial(self.see, "the identities"), looks)
        if accounts is None or tokens is None or anchors is None:
            return None
        objects = ClusterObjects(
            accounts=accounts, bindings=(), secrets=tokens, other_secrets=anchors
        )
        every = examine(objects, clock)
        codes = {each.record.name.key: {it.check for it in each.findings} for each in every}
        now, soon = time_in(clock, 0), time_in(clock, report.SOON_DAYS * _DAY_SECONDS)
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
            state = read_cluster_state(self.cluster)
            facts = state.facts(self.config)
            plan = make_plan(state, self.config, facts, render_folders(self.config, facts))
        except ClusterUnreachableError:
            raise
        except (ForbiddenError, RejectedObjectsError) as error:
            fact = f"what differs from the config is not known: {error.fact.partition(':')[0]}"
            self.findings.append(skipped("drift", fact, command("diff")))
            if isinstance(error, ForbiddenError):
                return None  # the rest needs the same rights
        except DaypassError as error:
            self.findings.append(failure("drift", error.fact, error.hint))
        else:
            self.findings += plan.found
            return [str(each.ref) for each in plan.differing]
        self.findings += find_if_possible(self.cluster, self.config)
        return None


def _days_left(chain: bytes, clock: Clock) -> int | None:
    """Return the days until the first certificate of a chain (PEM) expires, if it is one."""
    try:
        expires = x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc
    except ValueError:
        return None
    return int((expires.timestamp() - clock.unix()) // _DAY_SECONDS)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def _renewal(front: AnyFront) -> str:
    """Return what renews the certificate of a domain."""
    name, namespace = front.certificate_secret or "", front.certificate_namespace
    if isinstance(front.domain.tls, TlsIssuer):
        return kubectl("describe", "certificates", "-n", namespace)
    files = ("--cert", Placeholder("FILE"), "--key", Placeholder("FILE"))
    made = ("secret", "tls", name, "-n", namespace, *files, "--dry-run=client", "-o", "yaml")
    return f"{kubectl('create', *made)} | {kubectl('apply', '-f', '-')}"
