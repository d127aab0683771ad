"""The admission policy in a running cluster: apply it, wait until it is enforced, check it.

A check asks the API server for a token that it can't make. The API server resolves `boundObjectRef`
after all admission and before it signs, so an impossible reference fails every request that the
policy has let pass. A Secret is named with a UID that no object has, which gives 404 or 409. An
empty reference is none to policies, and the API server refuses it with 400, for its missing kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias
from uuid import uuid4

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Finding, failure
from daypass._core.hints import command, kubectl
from daypass._core.objects import Object, name_of
from daypass._core.token_bounds import SHORTEST_TOKEN_SECONDS
from daypass.config.models import Policy
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import Account, IdentityName, Warn, check_object_name
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from daypass.kube.waiting import Waiter
from daypass.render.policy import (
    ACTIONS,
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
class PolicyResponse:
    """What the cluster answers. `message`: its reason, unless the request is allowed."""

    verdict: Verdict
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """The policy in a cluster, as it applies to a namespace.

    `mode`: audit, warn or deny; None without a binding. `drift`: the fields that differ from the
    config; None without a config. `is_labelled`: the namespace has the policy's label. `overrides`:
    the namespace's annotations that change the policy.
    """

    namespace: str
    is_installed: bool
    mode: str | None
    drift: tuple[str, ...] | None
    is_labelled: bool
    overrides: Mapping[str, str]

    @property
    def is_in_force(self) -> bool:
        """Whether there is a policy and a binding, in any mode."""
        return self.is_installed and self.mode is not None

    def findings(self) -> Iterator[Finding]:
        """Yield what keeps the policy from being enforced here as the config describes it, with
        the commands that mend it.
        """
        apply = command("policy", "apply")
        if not self.is_installed:
            yield failure("no-policy", "the policy is not installed", apply)
        if self.mode is None:
            yield failure("no-binding", "the policy has no binding", apply)
        for each in self.drift or ():
            yield failure("drift", f"{each} differs from the config", apply)
        if not self.is_labelled:
            label = kubectl("label", "namespace", self.namespace, labels.POLICY_SELECTOR)
            fact = f"the Namespace lacks the label {labels.POLICY_SELECTOR}"
            yield failure("no-label", fact, label)
        for each in mistakes(self.overrides):
            remove = kubectl("annotate", "namespace", self.namespace, f"{each}-")
            yield failure("bad-override", f"annotation {each} is invalid", remove)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCheck:
    """The state of a namespace and the cluster's answer to a request.

    `broken`: the rules of the config that the request breaks, None without a config. The modes
    audit and warn allow it all the same.
    """

    state: PolicyState
    request: TokenRequestAttributes
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


def wait_until_enforced(waiter: Waiter, policy: Policy) -> str | None:
    """Return once a policy that was just applied is compiled and enforced.

    Returns a namespace in which a request was seen to be denied, or None if none could show it.
    Raises NotReadyError, and DaypassError for expressions that the API server warns about.
    """
    cluster = waiter.cluster
    waiter.wait(
        "the policy",
        partial(_compiled, cluster),
        "is kube-controller-manager running (validatingadmissionpolicy-status-controller)?",
    )
    cluster.sleep(SETTLE_SECONDS)
    if policy.mode != "deny":
        return None
    labelled = cluster.list(NAMESPACES, labels=labels.POLICY_SELECTOR, metadata_only=True)
    request = TokenRequestAttributes(
        requester=Requester(user=""),
        service_account="default",
        audiences=(f"{labels.DOMAIN}/nobody",),
        lifetime_seconds=600,
    )

    def refusal(namespace: str) -> PolicyResponse | str:
        answer = ask(cluster, namespace, request)
        is_allowed = answer.verdict == "allowed"
        return f"it is applied, and denies nothing in {namespace}" if is_allowed else answer

    for namespace in map(name_of, labelled):
        hint = command("policy", "check", "-n", namespace, "--service-account", "default")
        hint = f"are you exempt from it? This asks as the ServiceAccount itself:\n{hint}"
        try:
            answer = waiter.wait("the policy", partial(refusal, namespace), hint)
        except ApiError:
            continue  # no ServiceAccount there, or no right to ask
        if answer.verdict == "denied":
            return namespace
    return None


def check(
    cluster: Cluster, policy: Policy | None, namespace: str, request: TokenRequestAttributes
) -> PolicyCheck:
    """Return the state of a namespace, and the answer to a request there.

    Raises as `ask` does, and UsageError for values that no TokenRequest can have.
    """
    _refuse_odd_values(request)
    state = policy_state(cluster, policy, namespace)
    request = replace(request, annotations=state.overrides)
    broken = None if policy is None else tuple(broken_rules(policy, request))
    answer = ask(cluster, namespace, request)
    return PolicyCheck(state=state, request=request, answer=answer, broken=broken)


def require_allowed(
    cluster: Cluster,
    policy: Policy,
    name: IdentityName,
    credentials: CredentialsSettings,
    is_federated: bool,
) -> None:
    """Raise UsageError if the config's policy denies an identity the tokens that it would request.

    A Namespace that is missing or may not be read has no annotations.
    """
    document: Object = {"metadata": {}}
    with suppress(ForbiddenError, NotFoundError):
        document = cluster.get(NAMESPACES, name.namespace, metadata_only=True)
    request = TokenRequestAttributes(
        requester=Requester(user=labels.FEDERATED_PREFIX if is_federated else name.user),
        service_account=name.name,
        audiences=(credentials.audience,),
        lifetime_seconds=credentials.lifetime_seconds,
        annotations=document["metadata"].get("annotations") or {},
    )
    if policy.mode != "deny" or not cluster.serves(VALIDATING_ADMISSION_POLICIES):
        return
    for rule in broken_rules(policy, request):
        if rule != "binding":  # the client binds its tokens
            raise UsageError(
                f"the policy refuses tokens of {name} for {credentials.audience} that live"
                f" {credentials.lifetime_seconds} seconds: rule {rule}",
                "name another --audience or --lifetime, or change `policy` in the config or the"
                f" annotations {labels.OVERRIDES}* of the Namespace",
            )


def _refuse_odd_values(request: TokenRequestAttributes) -> None:
    user = request.requester.user
    check_object_name("ServiceAccount", request.service_account)
    if request.bound is not None:
        check_object_name("Secret", request.bound.name)
    for audience in request.audiences:
        if not _is_plain(audience):
            raise UsageError(
                f"{audience[:80]!r} is not a valid audience",
                "write it without spaces around it, such as gate.example.com",
            )
    if not (_is_plain(user) and user.isascii()):
        raise UsageError(
            f"{user[:80]!r} is not a user name that a header can hold",
            "use ASCII without spaces around it, such as system:serviceaccount:team:bot",
        )


def policy_state(cluster: Cluster, policy: Policy | None, namespace: str) -> PolicyState:
    """Return the state in a namespace. Raises DaypassError if the cluster has no such policies."""
    require_policies(cluster)
    found = cluster.find(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    binding = cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, labels.POLICY_NAME)
    document = cluster.get(NAMESPACES, namespace)
    annotations = document["metadata"].get("annotations") or {}
    return PolicyState(
        namespace=namespace,
        is_installed=found is not None,
        mode=_mode(binding) if binding else None,
        drift=None if policy is None else tuple(_drift(policy, found, binding)),
        is_labelled=labels.has_policy_label(document),
        overrides={
            key: value for key, value in annotations.items() if key.startswith(labels.OVERRIDES)
        },
    )


def ask(cluster: Cluster, namespace: str, request: TokenRequestAttributes) -> PolicyResponse:
    """Return what the API server answers to a TokenRequest; no token is made.

    Without a user, the administrator asks. Raises ApiError if the request fails for another reason:
    a missing ServiceAccount, no right to impersonate, a lifetime that no API server grants.
    """
    user, account, bound = request.requester.user, request.service_account, request.bound
    reference = {}
    if bound is not None:
        reference = {
            "apiVersion": bound.api_version,
            "kind": bound.kind,
            "name": bound.name,
            "uid": str(uuid4()),
        }
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": list(request.audiences),
            "expirationSeconds": request.lifetime_seconds,
            "boundObjectRef": reference,
        },
    }
    path = SERVICE_ACCOUNTS.path(namespace, account, "token")
    what = f"ask for a token of {account} in {namespace}"
    headers = {"Impersonate-User": user} if user else {}
    try:
        cluster.request("POST", path, body, what=what, headers=headers)
    except ApiError as error:
        return _read_refusal(error, bound.name if bound else "")
    raise DaypassError(
        "the API server made a token that is bound to an object that does not exist",
        "this is not a Kubernetes API server that daypass supports",
    )


def _read_refusal(error: ApiError, secret: str) -> PolicyResponse:
    code, message = error.status.code, error.status.message
    if denied := _DENIED.search(message):
        return PolicyResponse(verdict="denied", message=denied[1])
    if _REFUSED.search(message):
        return PolicyResponse(verdict="refused", message=message)
    if code == 403 and "cannot create resource" in message:
        return PolicyResponse(verdict="forbidden", message=message)
    passed_admission = {
        400: "cannot bind token to object of type /, Kind=",
        404: f'secrets "{secret}" not found',
        409: "does not match the UID in record",
    }
    if passed_admission.get(code, "\0") in message:
        return PolicyResponse(verdict="allowed")
    raise error


def denies_unbound_tokens(
    cluster: Cluster, account: Account, users: Sequence[str] | None, remedy: str, warn: Warn
) -> bool:
    """Return whether the policy is seen to deny an identity tokens that are bound to nothing, which
    no revocation ends. Otherwise, or if the user may not impersonate it, warns.

    `users`: of a federated identity that keeps its rights. `remedy`: the command that ends them.
    """
    name = account.name
    request = TokenRequestAttributes(
        requester=Requester(user=""),
        service_account=name.name,
        audiences=(account.annotations.get(labels.AUDIENCE, labels.DOMAIN),),
        lifetime_seconds=SHORTEST_TOKEN_SECONDS,
    )
    rules = {""}
    if cluster.serves(VALIDATING_ADMISSION_POLICIES):
        with suppress(ApiError):
            asked = (replace(request, requester=Requester(user=u)) for u in users or (name.user,))
            answers = [ask(cluster, name.namespace, each) for each in asked]
            rules = {each.message.partition(":")[0] for each in answers}
    if rules <= {"binding", "overrides"}:
        return True
    left = f"{', '.join(users)} can still get some, and all" if users else "those that it has"
    warn(
        f"no policy is seen to deny {name} tokens that are bound to nothing: {left} work at the API"
        " server, and at gates that accept such tokens, until they expire, even for years",
        f"this ends that: {remedy}",
    )
    return False


def require_policies(cluster: Cluster) -> None:
    """Raise DaypassError if the API server has no ValidatingAdmissionPolicy v1."""
    if not cluster.serves(VALIDATING_ADMISSION_POLICIES):
        raise DaypassError(
            f"the API server {cluster.connection.server} cannot enforce the policy: it has no"
            " ValidatingAdmissionPolicy v1",
            "name the kubeconfig of a cluster with Kubernetes 1.30 or later: --kubeconfig FILE",
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
