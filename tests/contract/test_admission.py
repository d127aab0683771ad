"""What admission policies see and change of a TokenRequest, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from contract.calls import (
    ApiServer,
    claims,
    issued_token,
    only_kubernetes,
    post,
    request_token,
    token_request,
)
from daypass._core.secret import Secret
from support import identities
from support.admin import Document
from support.deadline import eventually
from support.identities import Identity
from support.tokens import ISSUER

pytestmark = only_kubernetes("policies are CEL, which only Kubernetes evaluates")

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
LABEL = "daypass-tests/policy"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
RULES = {
    "resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts/token"],
        "operations": ["CREATE"],
    }],
}  # fmt: skip
SENTINEL_SECONDS = 777
"""A lifetime that every policy here refuses: by it is seen that the policy is in force."""
IN_FORCE = "the policy is in force"
SEEN = {
    "seconds": "string(object.spec.expirationSeconds)",
    "audiences": "object.spec.audiences.join('|')",
    "name": "object.metadata.name",
    "namespace": "object.metadata.namespace",
    "has_bound": "string(has(object.spec.boundObjectRef))",
    "bound_kind": "has(object.spec.boundObjectRef.kind) ? object.spec.boundObjectRef.kind : 'none'",
    "request_name": "request.name",
    "request_namespace": "request.namespace",
    "dry_run": "string(request.dryRun)",
    "user": "request.userInfo.username",
    "extra": "has(request.userInfo.extra) ? request.userInfo.extra.map(k, k).join('|') : 'none'",
    "credential": (
        f"has(request.userInfo.extra) && '{CREDENTIAL_ID}' in request.userInfo.extra ? "
        f"request.userInfo.extra['{CREDENTIAL_ID}'].join('|') : 'none'"
    ),
}
"""Name of an observation, and the expression that makes it."""


@contextmanager
def created(api_server: ApiServer, name: str, objects: dict[str, Document]) -> Iterator[None]:
    """Objects of the admission API, by plural and spec, gone afterwards."""
    for kind, spec in objects.items():
        document = {"metadata": {"name": name}, "spec": spec}
        api_server.admin.create(f"{ADMISSION}/{kind}", document)
    try:
        yield
    finally:
        for kind in reversed(objects):
            api_server.admin.delete(f"{ADMISSION}/{kind}/{name}")


@contextmanager
def policy(api_server: ApiServer, *validations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A policy on TokenRequests in a namespace of its own, in force; (namespace, policy's name).

    The namespace has a ServiceAccount `sentinel` besides. The binding is called as the policy.
    """
    name = identities.unique("policy")
    namespace = identities.make_namespace(api_server.admin, labels={LABEL: name})
    identities.ensure_service_account(api_server.admin, namespace, "sentinel")
    sentinel = {
        "expression": f"object.spec.expirationSeconds != {SENTINEL_SECONDS}", "message": IN_FORCE,
    }  # fmt: skip

    def refuses() -> bool:
        path = identities.token_path(namespace, "sentinel")
        document = token_request(expirationSeconds=SENTINEL_SECONDS)
        answer = api_server.admin.request("POST", path, document)
        return answer.code == 422 and IN_FORCE in answer.message

    selector = {"namespaceSelector": {"matchLabels": {LABEL: name}}}
    objects: dict[str, Document] = {
        "validatingadmissionpolicies": {
            "failurePolicy": "Fail", "matchConstraints": RULES,
            "validations": [sentinel, *validations],
        },
        "validatingadmissionpolicybindings": {
            "policyName": name, "validationActions": ["Deny"], "matchResources": selector,
        },
    }  # fmt: skip
    with created(api_server, name, objects):
        eventually(f"{name} is in force", refuses)
        yield namespace, name


@pytest.fixture(scope="module")
def observer(api_server: ApiServer) -> Iterator[Identity]:
    """An identity whose every request is refused with a message that says what the policy saw."""
    report = " + ';' + ".join(f"'{name}=' + ({what})" for name, what in SEEN.items())
    with policy(api_server, {"expression": "false", "messageExpression": report}) as (space, _):
        yield identities.make_identity(api_server.admin, space)


def seen(
    api_server: ApiServer,
    identity: Identity,
    *,
    token: Secret | None = None,
    query: str = "",
    **spec: Any,
) -> dict[str, str]:
    """What the observer reports of a request."""
    target = identity.token_path + query
    answer = post(api_server, target, token_request(**spec), token=token or identity.token)
    assert answer.code == 422
    report = answer.message.split("denied request: ", 1)[1]
    pairs = (pair.split("=", 1) for pair in report.split(";"))
    return {name: value for name, value in pairs}


def test_a_policy_sees_defaults_and_metadata_that_were_filled_in(
    api_server: ApiServer, observer: Identity
) -> None:
    """A requester with a long-lived token has no extra: which Secret it came from is not seen."""
    assert seen(api_server, observer) == {
        "seconds": "3600", "audiences": ISSUER, "name": "bot", "namespace": observer.namespace,
        "has_bound": "true", "bound_kind": "none", "request_name": "bot",
        "request_namespace": observer.namespace, "dry_run": "false", "user": observer.user,
        "extra": "none", "credential": "none",
    }  # fmt: skip


def test_a_policy_sees_what_was_requested(api_server: ApiServer, observer: Identity) -> None:
    longest = seen(api_server, observer, expirationSeconds=2**32, boundObjectRef=None)
    assert (longest["seconds"], longest["has_bound"]) == ("4294967296", "true")
    bound = seen(
        api_server, observer, boundObjectRef=observer.bound_object_ref, query="?dryRun=All"
    )
    assert (bound["bound_kind"], bound["dry_run"]) == ("Secret", "true")


def test_a_requester_with_a_short_lived_token_has_a_credential_id(
    api_server: ApiServer, observer: Identity
) -> None:
    account = {"name": observer.service_account, "uid": observer.service_account_uid}
    token = api_server.sign({
        "sub": observer.user, "iss": ISSUER, "aud": [ISSUER], "iat": 1, "nbf": 1, "exp": 2**33,
        "jti": "a-b", "kubernetes.io": {"namespace": observer.namespace, "serviceaccount": account},
    })  # fmt: skip
    report = seen(api_server, observer, token=token)
    assert (report["extra"], report["credential"]) == (CREDENTIAL_ID, "JTI=a-b")


def test_a_policy_runs_between_the_checks_of_spec_and_bound_object(
    api_server: ApiServer, observer: Identity
) -> None:
    path = identities.token_path(observer.namespace, "absent")
    assert api_server.admin.request("POST", path, token_request()).code == 404
    answer = request_token(api_server, observer, expirationSeconds=1)
    assert "may not specify a duration less than 10 minutes" in answer.message
    absent = {"apiVersion": "v1", "kind": "Secret", "name": "absent"}
    assert seen(api_server, observer, boundObjectRef=absent)["bound_kind"] == "Secret"


@pytest.mark.parametrize(
    ("reason", "code"), [("", 422), ("Forbidden", 403)], ids=["default", "forbidden"]
)
def test_a_refusal_names_policy_and_binding(api_server: ApiServer, reason: str, code: int) -> None:
    rule = {"expression": "false", "message": "not so", **({"reason": reason} if reason else {})}
    with policy(api_server, rule) as (namespace, name):
        bot = identities.make_identity(api_server.admin, namespace)
        answer = request_token(api_server, bot)
    assert (answer.code, answer.json["reason"]) == (code, reason or "Invalid")
    assert answer.message == (
        f"serviceaccounts \"bot\" is forbidden: ValidatingAdmissionPolicy '{name}' "
        f"with binding '{name}' denied request: not so"
    )


def test_a_rule_that_relies_on_has_fails_with_a_422(api_server: ApiServer) -> None:
    trusting = "!has(object.spec.boundObjectRef) || object.spec.boundObjectRef.kind == 'Secret'"
    with policy(api_server, {"expression": trusting}) as (namespace, _):
        bot = identities.make_identity(api_server.admin, namespace)
        assert request_token(api_server, bot, boundObjectRef=bot.bound_object_ref).code == 201
        answer = request_token(api_server, bot)
    assert answer.code == 422
    assert "resulted in error" in answer.message


def test_a_request_bound_to_an_absent_secret_runs_the_policy_without_issuing_a_token(
    api_server: ApiServer,
) -> None:
    rule = {"expression": "object.spec.expirationSeconds <= 7200", "message": "too long"}
    with policy(api_server, rule) as (namespace, _):
        bot = identities.make_identity(api_server.admin, namespace)
        absent = {"apiVersion": "v1", "kind": "Secret", "name": "bot-daypass-none"}
        codes = [
            request_token(api_server, bot, boundObjectRef=absent, expirationSeconds=seconds).code
            for seconds in (7200, 7201)
        ]
    assert codes == [404, 422]


def test_only_the_full_name_of_a_secret_is_unambiguous(api_server: ApiServer) -> None:
    """By a prefix of its name, `bot` can bind to the Secret of `bot-daypass`."""
    prefix = "startsWith(request.name + '-daypass-')"
    whole = "matches('^' + request.name + '-daypass-[a-z0-9]{20}$')"
    for test, code in ((prefix, 201), (whole, 422)):
        rule = {"expression": f"object.spec.boundObjectRef.name.{test}"}
        with policy(api_server, rule) as (namespace, _):
            bot = identities.make_identity(api_server.admin, namespace)
            other = identities.make_identity(api_server.admin, namespace, "bot-daypass")
            for each in (bot, other):
                answer = request_token(api_server, each, boundObjectRef=each.bound_object_ref)
                assert answer.code == 201
            answer = request_token(api_server, bot, boundObjectRef=other.bound_object_ref)
        assert answer.code == code
        if code == 201:
            assert claims(answer)["sub"] == bot.user


def test_a_policy_can_refuse_token_requests_of_short_lived_tokens(api_server: ApiServer) -> None:
    successor = f"has(request.userInfo.extra) && '{CREDENTIAL_ID}' in request.userInfo.extra"
    with policy(api_server, {"expression": f"!({successor})"}) as (namespace, _):
        bot = identities.make_identity(api_server.admin, namespace)
        first = issued_token(request_token(api_server, bot))
        assert post(api_server, bot.token_path, token_request(), token=first).code == 422


# ApplyConfiguration fails: the API server knows no schema of TokenRequest to merge by.
MUTATIONS = {
    "the lifetime": ("/spec/expirationSeconds", "601", 201, ""),
    "a lifetime that is too short": (
        "/spec/expirationSeconds", "300", 422, "may not specify a duration less than 10 minutes",
    ),
    "the name": (
        "/metadata/name", "'other'", 422, "must match the service account name if specified",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutation_applies_before_names_and_spec_are_validated(
    api_server: ApiServer, what: str
) -> None:
    path, value, code, message = MUTATIONS[what]
    name = identities.unique("mutation")
    namespace = identities.make_namespace(api_server.admin, labels={LABEL: name})
    expression = f"[JSONPatch{{op: 'add', path: '{path}', value: {value}}}]"
    change = {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    selector = {"namespaceSelector": {"matchLabels": {LABEL: name}}}
    objects: dict[str, Document] = {
        "mutatingadmissionpolicies": {
            "matchConstraints": {**RULES, **selector}, "mutations": [change],
            "reinvocationPolicy": "Never",
        },
        "mutatingadmissionpolicybindings": {"policyName": name},
    }  # fmt: skip
    bot = identities.make_identity(api_server.admin, namespace)

    def changed() -> bool:
        answer = request_token(api_server, bot)
        if answer.code == 201 == code:
            return bool(answer.json["spec"]["expirationSeconds"] == 601)
        return answer.code == code and message in answer.message

    with created(api_server, name, objects):
        eventually(f"{what} is changed", changed)
