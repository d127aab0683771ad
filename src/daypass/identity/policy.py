"""The admission policy in a running cluster: apply it, wait until it is enforced, check it.

A check asks the API server for a token that it can't make. The API server resolves `boundObjectRef`
after all admission and before it signs, so an impossible reference fails every request that the
policy has let pass. A Secret is named with a UID that no object has, which gives 404 or 409. An
empty reference is none to policies, and the API server refuses it with 400, for its missing kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias
from uuid import uuid4

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, kubectl
from daypass.config.models import Policy
from daypass.identity.model import (
    IdentityName,
    check_object_name,
    federated_binding_name,
    owner_of,
)
from daypass.identity.tokens import CredentialSecret
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError
from daypass.kube.resources import (
    NAMESPACES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    Object,
    name_of,
)
from daypass.kube.waiting import Waiter
from daypass.render.policy import (
    ACTIONS,
    BoundObject,
    Requester,
    TokenRequestAttributes,
    broken_rules,
    mistakes,
    policy_objects,
)

SETTLE_SECONDS = 2.0
"""Each API server reloads changed policies once a second (policyRefreshIntervalDefault in
k8s.io/apiserver/pkg/admission/plugin/policy/generic)."""

Verdict: TypeAlias = Literal["allowed", "denied", "forbidden", "refused"]
"""allowed; denied by this policy; forbidden by RBAC; refused by another policy or webhook."""

_DENIED = re.compile(
    f"ValidatingAdmissionPolicy '{labels.POLICY_NAME}' with binding '[^']*' denied request: (.*)",
    re.DOTALL,
)
_REFUSED = re.compile("ValidatingAdmissionPolicy '|admission webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyQuery:
    """A TokenRequest to check.

    `secret`: the name of the Secret to bind to. `user`: who requests it; None: the administrator.
    Raises UsageError for values that no TokenRequest can have.
    """

    namespace: str
    service_account: str
    audiences: tuple[str, ...]
    lifetime_seconds: int
    secret: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        check_object_name("ServiceAccount", self.service_account)
        if self.secret is not None:
            check_object_name("Secret", self.secret)
        for audience in self.audiences:
            if not _is_plain(audience):
                raise UsageError(
                    f"{audience[:80]!r} is not a valid audience",
                    "write it without spaces around it, such as gate.example.com",
                )
        if self.user is not None and not (_is_plain(self.user) and self.user.isascii()):
            raise UsageError(
                f"{self.user[:80]!r} is not a user name that a header can hold",
                "use ASCII without spaces around it, such as system:serviceaccount:team:bot",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResponse:
    """What the cluster answers. `message`: its reason, unless the request is allowed."""

    verdict: Verdict
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """The policy in a cluster, as it applies to one namespace.

    `mode`: audit, warn or deny; None without a binding. `drift`: the fields that differ from the
    config; None without a config. `is_labelled`: the namespace has the policy's label. `overrides`:
    the namespace's annotations that change the policy.
    """

    is_installed: bool
    mode: str | None
    drift: tuple[str, ...] | None
    is_labelled: bool
    overrides: Mapping[str, str]

    @property
    def is_in_force(self) -> bool:
        """Whether there is a policy and a binding, in any mode."""
        return self.is_installed and self.mode is not None

    @property
    def findings(self) -> list[str]:
        """What keeps the policy from being enforced here as the config describes it."""
        found = {
            "the policy is not installed": not self.is_installed,
            "the policy has no binding": self.mode is None,
            "the Namespace lacks the label " + labels.POLICY_SELECTOR: not self.is_labelled,
            **{f"{each} differs from the config": True for each in self.drift or ()},
            **{f"annotation {each} is invalid": True for each in mistakes(self.overrides)},
        }
        return [text for text, holds in found.items() if holds]

    def remedies(self, namespace: str, target: Sequence[str] = ()) -> list[str]:
        """Return the commands that mend the findings; `target`: options of `policy apply`."""
        label = kubectl("label", "namespace", namespace, labels.POLICY_SELECTOR)
        remove = (
            kubectl("annotate", "namespace", namespace, f"{each}-")
            for each in mistakes(self.overrides)
        )
        found = {
            command("policy", "apply", *target): not self.is_in_force or bool(self.drift),
            label: not self.is_labelled,
            **dict.fromkeys(remove, True),
        }
        return [line for line, helps in found.items() if helps]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCheck:
    """The state of a namespace and the cluster's answer to a query.

    `broken`: the rules of the config that the request breaks, None without a config. The modes
    audit and warn allow it all the same.
    """

    state: PolicyState
    query: PolicyQuery
    answer: PolicyResponse
    broken: tuple[str, ...] | None


def apply_policy(cluster: Cluster, policy: Policy) -> list[str]:
    """Apply the config's policy, and return its objects, by kind and name.

    Takes over fields that another field manager has set: the objects are daypass's own. Raises
    DaypassError for fields that somebody has added.
    """
    require_policies(cluster)
    documents = policy_objects(policy)
    for document in documents:
        _refuse_additions(document, cluster.apply(document, force=True))
    return [cluster.resource(each).named(None, name_of(each)) for each in documents]


def without_anchor(cluster: Cluster) -> list[IdentityName]:
    """Return the federated identities whose users can bind no token. Raises ForbiddenError."""
    bindings = cluster.list(ROLE_BINDINGS, labels=labels.SELECTOR)
    owners = ((IdentityName.parse_key(owner_of(each) or ""), each) for each in bindings)
    federated = {
        name for name, each in owners if name and name_of(each) == federated_binding_name(name.name)
    }
    if not federated:
        return []
    secrets = cluster.list(SECRETS, labels=labels.SELECTOR, metadata_only=True)
    anchored = {each.account for each in map(CredentialSecret.read, secrets) if each.is_anchor}
    return sorted(federated - anchored)


def wait_until_enforced(waiter: Waiter, policy: Policy) -> str | None:
    """Return once a policy that was just applied is compiled and enforced.

    Returns a namespace in which a request was seen to be denied, or None if none could show it.
    Raises NotReadyError, and DaypassError for expressions that the API server warns about.
    """
    waiter.wait(
        "the policy", partial(_compiled, waiter.cluster),
        "is kube-controller-manager running (validatingadmissionpolicy-status-controller)?",
    )  # fmt: skip
    waiter.cluster.sleep(SETTLE_SECONDS)
    return _wait_until_denied(waiter, policy)


def check(cluster: Cluster, policy: Policy | None, query: PolicyQuery) -> PolicyCheck:
    """Return the state of the query's namespace, and the answer. Raises as `ask` does."""
    state = policy_state(cluster, policy, query.namespace)
    broken = None
    if policy is not None:
        request = TokenRequestAttributes(
            requester=Requester(user=query.user or ""),
            service_account=query.service_account,
            lifetime_seconds=query.lifetime_seconds,
            audiences=query.audiences,
            bound=BoundObject(name=query.secret) if query.secret else None,
            annotations=state.overrides,
        )
        broken = tuple(broken_rules(policy, request))
    return PolicyCheck(state=state, query=query, answer=ask(cluster, query), broken=broken)


def policy_state(cluster: Cluster, policy: Policy | None, namespace: str) -> PolicyState:
    """Return the state in a namespace. Raises DaypassError if the cluster has no such policies."""
    require_policies(cluster)
    found = cluster.find(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    binding = cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, labels.POLICY_NAME)
    document = cluster.get(NAMESPACES, namespace)
    annotations = document["metadata"].get("annotations") or {}
    return PolicyState(
        is_installed=found is not None,
        mode=_mode(binding) if binding else None,
        drift=None if policy is None else tuple(_drift(policy, found, binding)),
        is_labelled=labels.has_policy_label(document),
        overrides={
            key: value for key, value in annotations.items() if key.startswith(labels.OVERRIDES)
        },
    )


def ask(cluster: Cluster, query: PolicyQuery) -> PolicyResponse:
    """Return what the API server answers to a TokenRequest; no token is made.

    Raises ApiError if the request fails for another reason: a missing ServiceAccount, no right to
    impersonate `user`, a lifetime that no API server grants.
    """
    headers = {} if query.user is None else {"Impersonate-User": query.user}
    reference: dict[str, object] = {}
    if query.secret:
        reference = {
            "apiVersion": "v1", "kind": "Secret", "name": query.secret, "uid": str(uuid4()),
        }  # fmt: skip
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": list(query.audiences),
            "expirationSeconds": query.lifetime_seconds,
            "boundObjectRef": reference,
        },
    }
    path = SERVICE_ACCOUNTS.path(query.namespace, query.service_account, "token")
    what = f"ask for a token of {query.service_account} in {query.namespace}"
    try:
        cluster.request("POST", path, body, what=what, headers=headers)
    except ApiError as error:
        return _read_refusal(error, query)
    raise DaypassError(
        "the API server made a token that is bound to an object that does not exist",
        "this is not a Kubernetes API server that daypass supports",
    )


def _read_refusal(error: ApiError, query: PolicyQuery) -> PolicyResponse:
    code, message = error.status.code, error.status.message
    if denied := _DENIED.search(message):
        return PolicyResponse(verdict="denied", message=denied[1])
    if _REFUSED.search(message):
        return PolicyResponse(verdict="refused", message=message)
    if code == 403 and "cannot create resource" in message:
        return PolicyResponse(verdict="forbidden", message=message)
    passed_admission = {
        400: "cannot bind token to object of type /, Kind=",
        404: f'secrets "{query.secret}" not found',
        409: "does not match the UID in record",
    }
    if passed_admission.get(code, "\0") in message:
        return PolicyResponse(verdict="allowed")
    raise error


def require_policies(cluster: Cluster) -> None:
    """Raise DaypassError if the cluster has no ValidatingAdmissionPolicy v1."""
    if not cluster.serves(VALIDATING_ADMISSION_POLICIES):
        cluster.refuse_embedded()
        raise DaypassError(
            "the cluster has no ValidatingAdmissionPolicy v1 that could enforce the policy",
            "use Kubernetes 1.30 or later",
        )


def _is_plain(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable()


def _differing_fields(document: Object, found: Object) -> list[str]:
    wanted, there = document["spec"], found.get("spec") or {}
    return sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))


def _refuse_additions(document: Object, applied: Object) -> None:
    if fields := _differing_fields(document, applied):
        kind = document["kind"]
        raise DaypassError(
            f"somebody has added to spec.{', spec.'.join(fields)} of the cluster's {kind}",
            "delete it, then apply again:\n" + kubectl("delete", kind.lower(), name_of(document)),
        )


def _compiled(cluster: Cluster) -> str | None:
    found = cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    status = found.get("status") or {}
    warnings = (status.get("typeChecking") or {}).get("expressionWarnings") or []
    if warnings:
        raise DaypassError(
            f"the API server warns about {warnings[0]['fieldRef']}: {warnings[0]['warning']}"
        )
    is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return None if is_seen else "it is applied, and the cluster has not compiled it yet"


def _wait_until_denied(waiter: Waiter, policy: Policy) -> str | None:
    """Return a namespace where a request that breaks a rule is denied, or None if none shows it."""
    if policy.mode != "deny":
        return None
    cluster = waiter.cluster
    labelled = cluster.list(NAMESPACES, labels=labels.POLICY_SELECTOR, metadata_only=True)
    for namespace in map(name_of, labelled):
        query = PolicyQuery(
            namespace=namespace,
            service_account="default",
            audiences=(f"{labels.DOMAIN}/nobody",),
            lifetime_seconds=600,
        )
        hint = command("policy", "check", "-n", namespace, "--service-account", "default")
        hint = f"are you exempt from it? This asks as the ServiceAccount itself:\n{hint}"
        try:
            answer = waiter.wait("the policy", partial(_ask_until_refused, cluster, query), hint)
        except ApiError:
            continue  # no ServiceAccount there, or no right to ask
        if answer.verdict == "denied":
            return namespace
    return None


def _ask_until_refused(cluster: Cluster, query: PolicyQuery) -> PolicyResponse | str:
    answer = ask(cluster, query)
    if answer.verdict == "allowed":
        return f"it is applied, and denies nothing in {query.namespace}"
    return answer


def _mode(binding: Object) -> str | None:
    actions = sorted(binding["spec"].get("validationActions", ()))
    return next((mode for mode, wanted in ACTIONS.items() if wanted == actions), None)


def _drift(policy: Policy, *found: Object | None) -> list[str]:
    return [
        f"{document['kind']} spec.{field}"
        for document, there in zip(policy_objects(policy), found, strict=True)
        if there is not None
        for field in _differing_fields(document, there)
    ]
