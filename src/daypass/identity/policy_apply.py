"""The policy into a cluster, and out of doubt: applied, compiled, and seen to refuse."""

from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass.identity.policy_question import Question, ask
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import refuse_embedded
from daypass.kube.errors import ApiError
from daypass.kube.resources import (
    NAMESPACES,
    VALIDATING_ADMISSION_POLICIES,
    Object,
    name_of,
)
from daypass.render.policy import marks
from daypass.render.policy.objects import policy_objects
from daypass.spec.policy import Policy

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.1
SETTLE_SECONDS = 2.0
"""Each API server takes up changed policies once a second (policyRefreshIntervalDefault in
k8s.io/apiserver/pkg/admission/plugin/policy/generic); until then the ones before count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done. `seen_in`: a namespace in which a request was seen to be refused, if any."""

    objects: tuple[str, ...]
    seen_in: str | None = None


def require_policies(cluster: Cluster) -> None:
    """Raise where the cluster has no ValidatingAdmissionPolicy v1."""
    if not cluster.serves(VALIDATING_ADMISSION_POLICIES):
        refuse_embedded(cluster)
        raise DaypassError(
            "the cluster serves no ValidatingAdmissionPolicy v1: nothing there would enforce it",
            "it takes Kubernetes 1.30 or later",
        )


def apply_policy(cluster: Cluster, policy: Policy, *, dry_run: bool = False) -> Applied:
    """Bring the cluster's policy to what the config says, and come back once it is in force.

    Fields that somebody else has set otherwise are taken over: it is daypass' own object. Raises
    DaypassError for what somebody has added to it, for expressions that the cluster doubts, and
    where it is not in force within PATIENCE_SECONDS.
    """
    require_policies(cluster)
    documents = policy_objects(policy)
    for document in documents:
        _refuse_additions(document, cluster.apply(document, dry_run=dry_run, force=True))
    names = tuple(cluster.resource(each).named(None, name_of(each)) for each in documents)
    if dry_run:
        return Applied(objects=names)
    return Applied(objects=names, seen_in=wait_until_in_force(cluster, policy))


def wait_until_in_force(cluster: Cluster, policy: Policy) -> str | None:
    """Come back once the policy that was applied just now is compiled and counts.

    The namespace in which a request was seen to be refused, or None where none could tell. Raises
    as `apply_policy` does.
    """
    _wait_until_compiled(cluster)
    cluster.sleep(SETTLE_SECONDS)
    return _wait_until_it_refuses(cluster, policy)


def differs(document: Object, found: Object) -> list[str]:
    """The fields of `spec` in which an object of the cluster is not as rendered."""
    wanted, there = document["spec"], found.get("spec") or {}
    return sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))


def _refuse_additions(document: Object, applied: Object) -> None:
    if fields := differs(document, applied):
        kind = document["kind"]
        raise DaypassError(
            f"somebody has added to spec.{', spec.'.join(fields)} of the cluster's {kind}",
            "delete it, then apply again:\n" + kubectl("delete", kind.lower(), name_of(document)),
        )


def _wait_until_compiled(cluster: Cluster) -> None:
    ends = cluster.clock.monotonic() + PATIENCE_SECONDS
    while True:
        found = cluster.get(VALIDATING_ADMISSION_POLICIES, marks.NAME)
        status = found.get("status") or {}
        warnings = (status.get("typeChecking") or {}).get("expressionWarnings") or []
        if warnings:
            raise DaypassError(
                f"the cluster doubts {warnings[0]['fieldRef']}: {warnings[0]['warning']}"
            )
        if status.get("observedGeneration") == found["metadata"]["generation"]:
            return
        if cluster.clock.monotonic() >= ends:
            raise DaypassError(
                f"the policy is applied, but not looked at within {PATIENCE_SECONDS:g} s",
                "is kube-controller-manager running (validatingadmissionpolicy-status-controller)?",
            )
        cluster.sleep(PAUSE_SECONDS)


def _wait_until_it_refuses(cluster: Cluster, policy: Policy) -> str | None:
    """A namespace where a request that breaks a rule is refused now, or None if none can tell."""
    if policy.mode != "deny":
        return None
    labels = f"{marks.LABEL}={marks.ENFORCED}"
    held = cluster.list(NAMESPACES, labels=labels, metadata_only=True)
    for namespace in map(name_of, held):
        question = Question(
            namespace=namespace,
            service_account="default",
            audiences=(f"{marks.DOMAIN}/nobody",),
            lifetime_seconds=600,
        )
        ends = cluster.clock.monotonic() + PATIENCE_SECONDS
        try:
            answer = ask(cluster, question)
            while answer.verdict == "allowed" and cluster.clock.monotonic() < ends:
                cluster.sleep(PAUSE_SECONDS)
                answer = ask(cluster, question)
        except ApiError:
            continue  # no ServiceAccount there, or no right of ours to ask
        if answer.verdict == "denied":
            return namespace
        if answer.verdict == "allowed":
            raise DaypassError(
                f"the policy is applied, but refuses nothing in {namespace}",
                "are you exempt? This asks as the ServiceAccount itself:\n"
                + command("policy", "check", "-n", namespace, "--service-account", "default"),
            )
    return None
