"""TokenReview: which tokens are valid for whom, and what a deletion invalidates, and when."""

from __future__ import annotations

import pytest

from contract.calls import (
    GATE,
    TOKEN_REVIEWS,
    ApiServer,
    claims,
    is_authenticated,
    issued_token,
    post,
    request_token,
    review,
    signature_is_good,
)
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from support import identities
from support.deadline import eventually
from support.identities import Identity
from support.tokens import ISSUER

CACHE_SECONDS = 10
INVALIDATED = "service account token has been invalidated"


def test_a_review_returns_the_audiences_that_token_and_request_share(
    api_server: ApiServer, bot: Identity
) -> None:
    token = issued_token(request_token(api_server, bot, audiences=["a", "b", "c"]))
    status = review(api_server, token, audiences=["d", "c", "b"])
    assert (status["authenticated"], set(status["audiences"])) == (True, {"b", "c"})


@pytest.mark.parametrize("audiences", [None, [], [ISSUER]])
def test_both_kinds_of_token_are_by_default_for_the_api_server(
    api_server: ApiServer, bot: Identity, audiences: list[str] | None
) -> None:
    for token in (bot.token, issued_token(request_token(api_server, bot))):
        status = review(api_server, token, audiences=audiences)
        assert (status["authenticated"], status["audiences"]) == (True, [ISSUER])


@pytest.mark.parametrize("audiences", [None, [], ["another"]])
def test_a_token_for_another_audience_is_refused(
    api_server: ApiServer, bot: Identity, audiences: list[str] | None
) -> None:
    token = issued_token(request_token(api_server, bot, audiences=[GATE]))
    status = review(api_server, token, audiences=audiences)
    wanted = audiences or [ISSUER]
    expected = f'token audiences ["{GATE}"] is invalid for the target audiences ["{wanted[0]}"]'
    assert "authenticated" not in status
    assert expected in status["error"]
    assert not is_authenticated(api_server, bot.token, audiences=[GATE])


def test_a_refused_token_is_still_a_201_and_no_token_a_400(api_server: ApiServer) -> None:
    answer = api_server.admin.request("POST", TOKEN_REVIEWS, {"spec": {"token": "nonsense"}})
    assert (answer.code, "authenticated" in answer.json["status"]) == (201, False)
    assert answer.json["status"]["error"]
    answer = api_server.admin.request("POST", TOKEN_REVIEWS, {"spec": {}})
    expected = "token is required for TokenReview in authentication"
    assert (answer.code, answer.message) == (400, expected)


def signed(api_server: ApiServer, bot: Identity, **changes: object) -> Secret:
    account = {"name": bot.service_account, "uid": bot.service_account_uid}
    return api_server.sign({
        "iss": ISSUER, "sub": bot.user, "aud": [ISSUER], "iat": 1, "nbf": 1, "exp": 2**33,
        "jti": "x", "kubernetes.io": {"namespace": bot.namespace, "serviceaccount": account},
        **changes,
    })  # fmt: skip


def test_a_signed_token_is_refused_for_its_claims(api_server: ApiServer, bot: Identity) -> None:
    account = {"name": "bot", "uid": bot.service_account_uid}
    place = {"namespace": bot.namespace, "serviceaccount": account}
    absent = {"name": "absent", "uid": bot.secret_uid}
    other = {"name": "bot", "uid": "another"}
    assert is_authenticated(api_server, signed(api_server, bot))
    for claim, value, error in (
        ("exp", 1000, "service account token has expired"),
        ("nbf", 2**33 - 1, "not valid yet"),
        ("iss", "https://elsewhere.example.com", ""),
        ("kubernetes.io", {**place, "secret": absent}, INVALIDATED),
        ("kubernetes.io", {**place, "serviceaccount": other}, ""),
    ):
        status = review(api_server, signed(api_server, bot, **{claim: value}))
        assert ("authenticated" in status, error in status["error"]) == (False, True), claim


def test_text_around_the_token_is_ignored(
    api_server: ApiServer, bot: Identity, token: Secret
) -> None:
    """So what a header holds is no key for a cache: it can be made endless.

    An authenticator that knows no audiences would give an empty list; none here does.
    """
    for each in (bot.token, token):
        assert review(api_server, f"{each.reveal()} junk")["authenticated"] is True
    status = review(api_server, f" {token.reveal()}", audiences=[GATE])
    assert (status["authenticated"], status["audiences"]) == (True, [GATE])


def test_only_an_auth_delegator_may_review_tokens(api_server: ApiServer, bot: Identity) -> None:
    document = {"spec": {"token": "x"}}
    answer = post(api_server, TOKEN_REVIEWS, document, token=bot.token)
    assert (answer.code, answer.message) == (
        403,
        f'tokenreviews.authentication.k8s.io is forbidden: User "{bot.user}" cannot create '
        'resource "tokenreviews" in API group "authentication.k8s.io" at the cluster scope',
    )

    def may() -> bool:
        return post(api_server, TOKEN_REVIEWS, document, token=bot.token).code == 201

    with identities.bound_cluster_wide(api_server.admin, "system:auth-delegator", bot):
        eventually("the right to review tokens", may)


def deleted(api_server: ApiServer, bot: Identity, path: str) -> None:
    """Delete an object that the identity's tokens are bound to, and wait until that is noticed.

    It is asked by tokens that were not asked about before: an answer from just before the API
    server notices is kept for ten seconds.
    """
    fresh = [identities.make_token(api_server.admin, bot) for _ in range(25)]
    api_server.admin.delete(path)
    eventually(f"{path} is gone", lambda: not is_authenticated(api_server, fresh.pop()))


def account_path(bot: Identity) -> str:
    return f"/api/v1/namespaces/{bot.namespace}/serviceaccounts/{bot.service_account}"


def test_deleting_a_secret_invalidates_its_token_and_those_bound_to_it(
    api_server: ApiServer, bot: Identity, token: Secret
) -> None:
    unbound = issued_token(request_token(api_server, bot))
    other = identities.make_identity(api_server.admin, bot.namespace, "other")
    deleted(api_server, other, other.secret_path)
    assert not is_authenticated(api_server, other.token), "not cached: at once"
    assert request_token(api_server, other).code == 401
    deleted(api_server, bot, bot.secret_path)
    assert INVALIDATED in review(api_server, token)["error"]
    assert is_authenticated(api_server, unbound)
    identities.make_token_secret(api_server.admin, bot.namespace, "bot", name=bot.secret_name)
    assert "does not match service account secret ref claim" in review(api_server, token)["error"]


def test_a_token_just_used_stays_valid_for_the_ten_seconds_of_the_cache(
    api_server: ApiServer, bot: Identity, token: Secret
) -> None:
    """One cache of good answers stands in front of all kinds of tokens; use does not renew it."""

    def good() -> list[bool]:
        return [is_authenticated(api_server, each) for each in (token, bot.token)]

    assert good() == [True, True]
    used = SYSTEM_CLOCK.monotonic()
    deleted(api_server, bot, bot.secret_path)
    assert good() == [True, True]
    eventually("both end", lambda: good() == [False, False], seconds=2 * CACHE_SECONDS)
    assert SYSTEM_CLOCK.monotonic() - used > CACHE_SECONDS / 2
    assert INVALIDATED in review(api_server, token)["error"]


def test_deleting_a_service_account_invalidates_its_tokens_but_not_their_signatures(
    api_server: ApiServer, bot: Identity, token: Secret
) -> None:
    unbound = identities.make_token(api_server.admin, bot, bound=False)
    deleted(api_server, bot, account_path(bot))
    for each in (token, unbound):
        assert 'serviceaccounts "bot" not found' in review(api_server, each)["error"]
        assert signature_is_good(api_server, each)
    assert not is_authenticated(api_server, bot.token)
    eventually("the Secret goes", lambda: api_server.admin.find(bot.secret_path) is None)


def test_a_recreated_service_account_has_the_same_subject_and_another_uid(
    api_server: ApiServer, bot: Identity
) -> None:
    old = identities.make_token(api_server.admin, bot, bound=False)
    deleted(api_server, bot, account_path(bot))
    again = identities.make_identity(api_server.admin, bot.namespace, "bot", authorize=False)
    new = identities.make_token(api_server.admin, again)
    assert claims(old)["sub"] == claims(new)["sub"]
    assert again.service_account_uid != bot.service_account_uid
    assert not is_authenticated(api_server, old)
    assert is_authenticated(api_server, new)
