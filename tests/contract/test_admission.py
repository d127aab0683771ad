"""What a ValidatingAdmissionPolicy sees of a TokenRequest, and what its refusal looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract.admission import denial, policy
from contract.calls import claims, issued_token, needs, post, request_token, token_request
from contract.interface import ApiServer
from daypass._core.secret import Secret
from support import identities
from support.identities import Identity

pytestmark = needs("admission-policies")

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
        "has(request.userInfo.extra) && 'authentication.kubernetes.io/credential-id' in "
        "request.userInfo.extra ? "
        "request.userInfo.extra['authentication.kubernetes.io/credential-id'].join('|') : 'none'"
    ),
}
"""Name of an observation, and the expression that makes it."""


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


def test_a_policy_sees_the_requested_lifetime_before_it_is_shortened(
    api_server: ApiServer, observer: Identity
) -> None:
    assert seen(api_server, observer, expirationSeconds=2**32)["seconds"] == "4294967296"


def test_a_policy_sees_the_default_lifetime_and_audience(
    api_server: ApiServer, observer: Identity
) -> None:
    report = seen(api_server, observer)
    assert (report["seconds"], report["audiences"]) == ("3600", api_server.issuer)


def test_a_policy_sees_metadata_that_was_filled_in(
    api_server: ApiServer, observer: Identity
) -> None:
    report = seen(api_server, observer)
    assert report["name"] == report["request_name"] == observer.service_account
    assert report["namespace"] == report["request_namespace"] == observer.namespace


def test_has_finds_a_bound_object_even_if_there_is_none(
    api_server: ApiServer, observer: Identity
) -> None:
    assert seen(api_server, observer)["has_bound"] == "true"
    assert seen(api_server, observer, boundObjectRef=None)["has_bound"] == "true"


def test_the_kind_of_the_bound_object_shows_whether_there_is_one(
    api_server: ApiServer, observer: Identity
) -> None:
    bound = seen(api_server, observer, boundObjectRef=observer.bound_object_ref)
    assert bound["bound_kind"] == "Secret"
    assert seen(api_server, observer)["bound_kind"] == "none"


def test_a_policy_sees_a_dry_run(api_server: ApiServer, observer: Identity) -> None:
    assert seen(api_server, observer)["dry_run"] == "false"
    assert seen(api_server, observer, query="?dryRun=All")["dry_run"] == "true"


def test_a_requester_with_a_long_lived_token_has_no_extra(
    api_server: ApiServer, observer: Identity
) -> None:
    """So a policy cannot tell which Secret the requester's token came from."""
    report = seen(api_server, observer)
    assert (report["user"], report["extra"]) == (observer.user, "none")


def test_a_requester_with_a_short_lived_token_has_a_credential_id(
    api_server: ApiServer, observer: Identity
) -> None:
    subject = {"sub": observer.user, "iss": api_server.issuer, "aud": [api_server.issuer]}
    account = {"name": observer.service_account, "uid": observer.service_account_uid}
    private = {"namespace": observer.namespace, "serviceaccount": account}
    times = {"iat": 1, "nbf": 1, "exp": 2**33}
    token = api_server.sign({**subject, **times, "jti": "a-b", "kubernetes.io": private})
    report = seen(api_server, observer, token=token)
    assert report["extra"] == "authentication.kubernetes.io/credential-id"
    assert report["credential"] == "JTI=a-b"


def test_a_policy_runs_after_the_service_account_is_looked_up(
    api_server: ApiServer, observer: Identity
) -> None:
    path = identities.token_path(observer.namespace, "absent")
    assert api_server.admin.request("POST", path, token_request()).code == 404


def test_a_policy_runs_after_the_spec_is_validated(
    api_server: ApiServer, observer: Identity
) -> None:
    answer = request_token(api_server, observer, expirationSeconds=1)
    assert "may not specify a duration less than 10 minutes" in answer.message


def test_a_policy_runs_before_the_bound_object_is_looked_up(
    api_server: ApiServer, observer: Identity
) -> None:
    absent = {"apiVersion": "v1", "kind": "Secret", "name": "absent"}
    assert seen(api_server, observer, boundObjectRef=absent)["bound_kind"] == "Secret"


def test_a_refusal_is_a_422_and_names_policy_and_binding(api_server: ApiServer) -> None:
    with policy(api_server, {"expression": "false", "message": "not so"}) as (namespace, name):
        bot = identities.make_identity(api_server.admin, namespace)
        answer = request_token(api_server, bot)
    assert (answer.code, answer.message) == (422, denial("bot", name, "not so"))
    assert answer.json["reason"] == "Invalid"


def test_a_refusal_for_the_reason_forbidden_is_a_403(api_server: ApiServer) -> None:
    rule = {"expression": "false", "message": "not so", "reason": "Forbidden"}
    with policy(api_server, rule) as (namespace, name):
        bot = identities.make_identity(api_server.admin, namespace)
        answer = request_token(api_server, bot)
    assert (answer.code, answer.message) == (403, denial("bot", name, "not so"))
    assert answer.json["reason"] == "Forbidden"


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
        passes = request_token(api_server, bot, boundObjectRef=absent, expirationSeconds=7200)
        fails = request_token(api_server, bot, boundObjectRef=absent, expirationSeconds=7201)
    assert (passes.code, fails.code) == (404, 422)


def test_a_prefix_of_secret_names_is_ambiguous(api_server: ApiServer) -> None:
    """`bot` can bind to the Secret of `bot-daypass`."""
    rule = {"expression": "object.spec.boundObjectRef.name.startsWith(request.name + '-daypass-')"}
    with policy(api_server, rule) as (namespace, _):
        bot = identities.make_identity(api_server.admin, namespace)
        other = identities.make_identity(api_server.admin, namespace, "bot-daypass")
        token = issued_token(request_token(api_server, bot, boundObjectRef=other.bound_object_ref))
    assert claims(token)["sub"] == bot.user
    assert claims(token)["kubernetes.io"]["secret"]["name"].startswith("bot-daypass-daypass-")


def test_the_full_name_of_a_secret_is_not_ambiguous(api_server: ApiServer) -> None:
    pattern = "'^' + request.name + '-daypass-[a-z0-9]{20}$'"
    rule = {"expression": f"object.spec.boundObjectRef.name.matches({pattern})"}
    with policy(api_server, rule) as (namespace, _):
        bot = identities.make_identity(api_server.admin, namespace)
        other = identities.make_identity(api_server.admin, namespace, "bot-daypass")
        assert request_token(api_server, bot, boundObjectRef=bot.bound_object_ref).code == 201
        assert request_token(api_server, bot, boundObjectRef=other.bound_object_ref).code == 422
        assert request_token(api_server, other, boundObjectRef=other.bound_object_ref).code == 201


def test_a_policy_can_refuse_token_requests_of_short_lived_tokens(
    api_server: ApiServer,
) -> None:
    key = "authentication.kubernetes.io/credential-id"
    successor = f"has(request.userInfo.extra) && '{key}' in request.userInfo.extra"
    with policy(api_server, {"expression": f"!({successor})"}) as (namespace, _):
        bot = identities.make_identity(api_server.admin, namespace)
        first = issued_token(request_token(api_server, bot))
        assert post(api_server, bot.token_path, token_request(), token=first).code == 422
