"""The admission policy in a running cluster: wait until it is enforced, ask it.

A question is a request for a token that the API server can't make. It resolves `boundObjectRef`
after all admission and before it signs, so an impossible reference fails every request that the
policy has let pass. A Secret is named with a UID that no object has, which gives 404 or 409. An
empty reference is none to policies, and the API server refuses it with 400, for its missing kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias
from uuid import uuid4

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import kubectl
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import SHORTEST_TOKEN_SECONDS
from daypass.config.models import Policy
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import Account, IdentityName, Warn
from daypass.kube.cluster import Cluster, Waiter
from daypass.kube.errors import ApiError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICIES,
)
from daypass.render.policy import (
    Requester,
    TokenRequestAttributes,
    broken_rules,
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


def wait_until_enforced(waiter: Waiter, policy: Policy) -> str | None:
    """Return once a policy that was just applied is compiled and enforced.

    Returns a namespace in which a request was seen to be denied, or None if none could show it.
    Raises NotReadyError, and DaypassError for fields that somebody has added, and for expressions
    that the API server warns about.
    """
    cluster = waiter.cluster
    for document in policy_objects(policy):
        resource = cluster.resource(document)
        _refuse_additions(document, cluster.get(resource, name_of(document)))
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
        hint = kubectl(
            *("create", "token", "default", "-n", namespace, "--audience", request.audiences[0]),
            *("--bound-object-kind", "Secret", "--bound-object-name", "none"),
            *("--as", f"{labels.SERVICE_ACCOUNT}{namespace}:default"),
        )
        hint = f"are you exempt from it? This asks as the ServiceAccount itself:\n{hint}"
        try:
            answer = waiter.wait("the policy", partial(refusal, namespace), hint)
        except ApiError:
            continue  # no ServiceAccount there, or no right to ask
        if answer.verdict == "denied":
            return namespace
    return None


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


def _refuse_additions(document: Object, found: Object) -> None:
    """Raise DaypassError for fields that somebody has added: they outlive server-side apply."""
    wanted, there = document["spec"], found.get("spec") or {}
    fields = sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))
    if fields:
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
