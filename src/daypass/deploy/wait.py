"""Waiting until what was applied works: certificates, rollouts, the gate's policies, removals."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass._core.text import printable
from daypass.config import Config
from daypass.deploy.object_ref import ObjectRef, find_metadata, find_object
from daypass.deploy.remove import ApplyResult, Removal
from daypass.kube.cluster import Cluster
from daypass.kube.resources import Object
from daypass.verification.report import Finding
from daypass.verification.target import targets_of
from daypass.verification.verify import Verifier

GATEWAY_POLICIES = "gateway.envoyproxy.io"
"""The group of the policies that `wait_for_policies` takes."""
_PAUSE_SECONDS = 1.0
_LISTED = re.compile(r"\[([^\]]*)\]")

T = TypeVar("T")
Log = Callable[[str], None]


class NotReadyError(DaypassError):
    """It was applied and does not work yet."""


class Waiter:
    """Waits until a deadline, by the cluster's clock."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._ends = cluster.clock.monotonic() + seconds
        self._seconds = seconds

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self._ends - self._cluster.clock.monotonic())

    def wait(self, check: Callable[[], T | str], log: Log, hint: str) -> T:
        """Return the first result that is no text. Log each other text once.

        Raises NotReadyError with the last text and `hint` after the deadline.
        """
        logged = ""
        while isinstance(result := check(), str):
            if result != logged:
                log(f"waiting: {result}")
                logged = result
            if not self.left():
                raise NotReadyError(f"not ready within {self._seconds:g} s: {result}", hint)
            self._cluster.sleep(_PAUSE_SECONDS)
        return result


def wait_for_certificate(cluster: Cluster, secret: ObjectRef, waiter: Waiter, log: Log) -> None:
    """Wait until cert-manager has made the door's certificate. Raises NotReadyError."""
    waiting = f"{secret}, which cert-manager makes"
    hint = kubectl("describe", "certificates", "-n", secret.namespace)
    waiter.wait(lambda: None if find_metadata(cluster, secret) else waiting, log, hint)


def wait_for_rollout(cluster: Cluster, deployment: ObjectRef, waiter: Waiter, log: Log) -> None:
    """Wait until all replicas are of the newest version and available, as kubectl does.

    Raises NotReadyError, at once if Kubernetes has given up.
    """
    where = ("-n", deployment.namespace)
    described = kubectl("describe", "deployment", deployment.name, *where)
    hint = f"{kubectl('get', 'pods', *where)}; {described}"

    def check() -> int | str:
        document = find_object(cluster, deployment)
        if document is None:
            raise NotReadyError(f"{deployment} is gone", f"`{command('apply')}` makes it again")
        if reason := _failure(document):
            raise NotReadyError(f"{deployment}: {reason}", hint)
        ready = _rollout_progress(document)
        return f"{deployment}: {ready}" if isinstance(ready, str) else ready

    ready = waiter.wait(check, log, hint)
    log(f"{deployment}: {ready} of {ready} ready")


def _rollout_progress(document: Object) -> int | str:
    """Return how many replicas a finished Deployment has, or what an unfinished one lacks.

    As `kubectl rollout status` (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go).
    """
    status, wanted = document.get("status") or {}, document["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < document["metadata"].get("generation", 0):
        return "no controller has seen it yet"
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} replicas are new"
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} old replicas are leaving"
    if available < updated:
        return f"{available} of {wanted} ready"
    return int(wanted)


def _failure(document: Object) -> str:
    status = document.get("status") or {}
    if status.get("observedGeneration", 0) < document["metadata"].get("generation", 0):
        return ""
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("message", ""))
    return ""


def wait_for_policies(
    cluster: Cluster, policies: Collection[ObjectRef], waiter: Waiter, log: Log
) -> list[str]:
    """Wait until each SecurityPolicy is accepted; return what is wrong even then, a line each.

    Policies of other kinds are reported if they are not accepted. Raises NotReadyError: until a
    SecurityPolicy is accepted, the gate checks nothing.
    """
    own = {policy.where for policy in policies}
    problems = []
    for policy in sorted(policies):
        hint = kubectl("describe", policy.kind.lower(), policy.name, "-n", policy.namespace)
        if policy.kind == "SecurityPolicy":
            document = waiter.wait(lambda: _accepted(cluster, policy), log, hint)  # noqa: B023
            if others := [name for name in _overriding_policies(document) if name not in own]:
                problems.append(
                    f"{policy}: other policies replace it for {', '.join(others)}, where the gate"
                    " checks nothing: set mergeType: StrategicMerge in them"
                )
        elif reason := _rejection_reason(find_object(cluster, policy) or {}):
            problems.append(f"{policy} is not in force: {reason}")
    return problems


def _accepted(cluster: Cluster, policy: ObjectRef) -> Object | str:
    document = find_object(cluster, policy) or {}
    if reason := _rejection_reason(document):
        return f"{policy}: {reason}"
    if not list(_conditions(document, "Accepted")):
        return f"{policy}: Envoy Gateway has not seen it yet"
    return document


def _rejection_reason(document: Object) -> str:
    """Return why a policy is not accepted, by its status; empty if its status does not say so."""
    found = (each for each in _conditions(document, "Accepted") if each.get("status") != "True")
    return next((printable(str(each.get("message"))) for each in found), "")


def _overriding_policies(document: Object) -> list[str]:
    """Return `NAMESPACE/NAME` of the routes and listeners where other policies replace this one.

    The status lists them in its message: `... for these routes: [team/a team/b]`.
    """
    found = [each for each in _conditions(document, "Overridden") if each.get("status") == "True"]
    lists = (listed for each in found for listed in _LISTED.findall(str(each.get("message"))))
    return sorted({printable(name) for listed in lists for name in listed.split()})


def _conditions(document: Object, kind: str) -> Iterator[Object]:
    """Yield the conditions of any controller for the current generation."""
    generation = (document.get("metadata") or {}).get("generation")
    for ancestor in (document.get("status") or {}).get("ancestors") or ():
        for condition in ancestor.get("conditions") or ():
            current = condition.get("observedGeneration", generation) == generation
            if current and condition.get("type") == kind:
                yield condition


def wait_until_gone(
    cluster: Cluster,
    removals: Sequence[Removal],
    done: ApplyResult,
    waiter: Waiter,
    log: Log,
) -> None:
    """Wait until all that was removed is gone: finalizers take time. Raises NotReadyError."""
    left = {removal.identifier for removal in done.left}
    for removal in removals:
        ref = removal.identifier
        if removal.fate == "remove" and ref not in left:
            where = ("-n", ref.namespace) if ref.namespace else ()
            hint = kubectl("describe", ref.kind.lower(), ref.name, *where)
            waiter.wait(lambda: _gone(cluster, removal), log, hint)  # noqa: B023 - used at once


def _gone(cluster: Cluster, removal: Removal) -> str | None:
    live = find_metadata(cluster, removal.identifier)
    if live is None or live["metadata"]["uid"] != removal.uid:
        return None
    finalizers = ", ".join(live["metadata"].get("finalizers") or ())
    return f"{removal.identifier} is going" + (f" ({finalizers})" if finalizers else "")


def verify_published(config: Config, waiter: Waiter, log: Log) -> dict[str, list[Finding]]:
    """Return what `daypass verify` finds about each domain; failures are retried for a while."""
    return {
        target.name: Verifier(
            wait_seconds=waiter.left(), progress=lambda words: log(f"waiting: {words}")
        ).verify(target)
        for target in targets_of(config, None, None)
        if target.front != "envoy"
    }
