"""Holding a namespace to the policy: the label, and whether anything acts upon it.

What a cluster would answer to a TokenRequest, asked so that no token can come of it.

The API server looks at `boundObjectRef` after all admission, and before it signs: a reference that
cannot be good ends every request there that would have passed. A Secret is named with a UID that no
object has (404 or 409 then); an empty reference is, to policies, the same as none, and is refused
as a reference to an object without a kind (400).

The policy into a cluster, and out of doubt: applied, compiled, and seen to refuse.

What holds in a namespace of a running cluster: which policy, from where, and for a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import uuid4

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, kubectl
from daypass.config.models import Policy
from daypass.identity.model import verify_object_name
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import refuse_embedded
from daypass.kube.errors import ApiError
from daypass.kube.resources import (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    Object,
    name_of,
)
from daypass.render.policy.policy_objects import ACTIONS, policy_objects
from daypass.render.policy.rules import (
    BoundObject,
    Requester,
    TokenRequestAttributes,
    broken_rules,
    mistakes,
)

Verdict: TypeAlias = Literal["allowed", "denied", "forbidden", "refused"]
"""allowed; denied by this policy; forbidden by RBAC; refused by another policy or webhook."""

_OURS = re.compile(
    f"ValidatingAdmissionPolicy '{labels.POLICY_NAME}' with binding '[^']*' denied request: (.*)",
    re.DOTALL,
)
_OTHERS = re.compile("ValidatingAdmissionPolicy '|admission webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyQuery:
    """A TokenRequest. `secret`: the name of the Secret it is bound to. `user`: who asks, else the
    admin. Raises UsageError for what no TokenRequest can say."""

    namespace: str
    service_account: str
    audiences: tuple[str, ...]
    lifetime_seconds: int
    secret: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        verify_object_name("ServiceAccount", self.service_account)
        if self.secret is not None:
            verify_object_name("Secret", self.secret)
        for audience in self.audiences:
            if not _is_plain(audience):
                raise UsageError(
                    f"{audience[:80]!r} is no audience",
                    "whom the token is for, without spaces around it, such as gate.example.com",
                )
        if self.user is not None and not (_is_plain(self.user) and self.user.isascii()):
            raise UsageError(
                f"{self.user[:80]!r} is no user that a header can name",
                "ASCII, without spaces around it, such as system:serviceaccount:team:bot",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResponse:
    """What the cluster would say. `message` is its own word where it says no."""

    verdict: Verdict
    message: str = ""


def ask(cluster: Cluster, question: PolicyQuery) -> PolicyResponse:
    """Ask. Raises ApiError where the question itself fails: no such ServiceAccount, no right to
    speak as `user`, a lifetime that no API server grants."""
    path = SERVICE_ACCOUNTS.path(question.namespace, question.service_account, "token")
    what = f"ask for a token of {question.service_account} in {question.namespace}"
    try:
        cluster.request(
            "POST", path, _body(question), what=what, headers=_speaking_as(question.user)
        )
    except ApiError as error:
        return _understood(error, question)
    raise DaypassError(
        "the API server made a token for a bound object that does not exist: none was to be made",
        "it is no Kubernetes API server as we know it",
    )


def _is_plain(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable()


def _body(question: PolicyQuery) -> dict[str, object]:
    impossible = str(uuid4())
    reference = (
        {"apiVersion": "v1", "kind": "Secret", "name": question.secret, "uid": impossible}
        if question.secret
        else {}
    )
    spec = {
        "audiences": list(question.audiences),
        "expirationSeconds": question.lifetime_seconds,
        "boundObjectRef": reference,
    }
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def _speaking_as(user: str | None) -> Mapping[str, str]:
    return {} if user is None else {"Impersonate-User": user}


def _understood(error: ApiError, question: PolicyQuery) -> PolicyResponse:
    code, message = error.status.code, error.status.message
    if ours := _OURS.search(message):
        return PolicyResponse(verdict="denied", message=ours[1])
    if _OTHERS.search(message):
        return PolicyResponse(verdict="refused", message=message)
    if code == 403 and "cannot create resource" in message:
        return PolicyResponse(verdict="forbidden", message=message)
    passed = {
        400: "cannot bind token to object of type /, Kind=",
        404: f'secrets "{question.secret}" not found',
        409: "does not match the UID in record",
    }
    if passed.get(code, "\0") in message:
        return PolicyResponse(verdict="allowed")
    raise error


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
        found = cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
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
    selector = f"{labels.POLICY}={labels.POLICY_ENFORCED}"
    held = cluster.list(NAMESPACES, labels=selector, metadata_only=True)
    for namespace in map(name_of, held):
        question = PolicyQuery(
            namespace=namespace,
            service_account="default",
            audiences=(f"{labels.DOMAIN}/nobody",),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """The policy in a cluster, seen from one namespace.

    `mode`: audit, warn, deny, or None where no binding makes it count. `drift`: the fields that are
    not as the config says; None where there is no config to compare with. `overrides`: what
    the Namespace says otherwise.
    """

    is_installed: bool
    mode: str | None
    drift: tuple[str, ...] | None
    is_held: bool
    overrides: Mapping[str, str]

    @property
    def is_in_force(self) -> bool:
        """Whether there is a policy that counts, in some mode."""
        return self.is_installed and self.mode is not None

    @property
    def findings(self) -> list[str]:
        """What keeps the policy from being in force here as written."""
        held = f"{labels.POLICY}={labels.POLICY_ENFORCED}"
        found = {
            "the policy is not installed": not self.is_installed,
            "nothing binds the policy to namespaces": self.mode is None,
            "the Namespace lacks the label " + held: not self.is_held,
            **{f"{each} is not as in the config": True for each in self.drift or ()},
            **{f"annotation {each} is a mistake": True for each in mistakes(self.overrides)},
        }
        return [words for words, holds in found.items() if holds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The state, the cluster's answer, and the rules that the request breaks by the config (None
    without one): in the modes audit and warn it is allowed all the same."""

    state: PolicyState
    question: PolicyQuery
    answer: PolicyResponse
    broken: tuple[str, ...] | None


def look(cluster: Cluster, policy: Policy | None, namespace: str) -> PolicyState:
    """The state in a namespace. Raises DaypassError where the cluster has no such policies."""
    require_policies(cluster)
    found = cluster.find(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    binding = cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, labels.POLICY_NAME)
    metadata = cluster.get(NAMESPACES, namespace)["metadata"]
    annotations = metadata.get("annotations") or {}
    return PolicyState(
        is_installed=found is not None,
        mode=_mode(binding) if binding else None,
        drift=None if policy is None else tuple(_drift(policy, found, binding)),
        is_held=(metadata.get("labels") or {}).get(labels.POLICY) == labels.POLICY_ENFORCED,
        overrides={
            key: value for key, value in annotations.items() if key.startswith(labels.OVERRIDES)
        },
    )


def check(cluster: Cluster, policy: Policy | None, question: PolicyQuery) -> Checked:
    """The state of the question's namespace, and its answer. No token is made. Raises as `ask`."""
    state = look(cluster, policy, question.namespace)
    broken = None
    if policy is not None:
        requester = Requester(user=question.user or "")
        request = TokenRequestAttributes(
            requester=requester,
            service_account=question.service_account,
            lifetime_seconds=question.lifetime_seconds,
            audiences=question.audiences,
            bound=BoundObject(name=question.secret) if question.secret else None,
            annotations=state.overrides,
        )
        broken = tuple(broken_rules(policy, request))
    return Checked(state=state, question=question, answer=ask(cluster, question), broken=broken)


def _mode(binding: Object) -> str | None:
    actions = sorted(binding["spec"].get("validationActions", ()))
    return next((mode for mode, wanted in ACTIONS.items() if wanted == actions), None)


def _drift(policy: Policy, *found: Object | None) -> list[str]:
    return [
        f"{document['kind']} spec.{field}"
        for document, there in zip(policy_objects(policy), found, strict=True)
        if there is not None
        for field in differs(document, there)
    ]
