"""TokenReview: audiences, errors, and who may ask."""

from __future__ import annotations

import pytest

from contract.calls import GATE, issued_token, post, request_token, review
from contract.interface import ApiServer
from daypass._core.secret import Secret
from support import identities
from support.deadline import eventually
from support.identities import Identity

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


def test_without_audiences_a_token_is_reviewed_for_the_api_server(
    api_server: ApiServer, bot: Identity
) -> None:
    status = review(api_server, issued_token(request_token(api_server, bot)))
    assert (status["authenticated"], status["audiences"]) == (True, [api_server.issuer])


def test_a_review_returns_the_audiences_that_token_and_request_share(
    api_server: ApiServer, bot: Identity
) -> None:
    token = issued_token(request_token(api_server, bot, audiences=["a", "b", "c"]))
    status = review(api_server, token, audiences=["d", "c", "b"])
    assert status["authenticated"] is True
    assert set(status["audiences"]) == {"b", "c"}


@pytest.mark.parametrize("audiences", [None, [], ["another"]])
def test_a_token_for_another_audience_is_refused(
    api_server: ApiServer, bot: Identity, audiences: list[str] | None
) -> None:
    token = issued_token(request_token(api_server, bot, audiences=[GATE]))
    status = review(api_server, token, audiences=audiences)
    wanted = audiences or [api_server.issuer]
    expected = f'token audiences ["{GATE}"] is invalid for the target audiences ["{wanted[0]}"]'
    assert "authenticated" not in status
    assert expected in status["error"]


def test_a_refused_token_is_still_a_201(api_server: ApiServer) -> None:
    answer = api_server.admin.request("POST", REVIEWS, {"spec": {"token": "nonsense"}})
    assert answer.code == 201
    status = answer.json["status"]
    assert status["error"]
    assert "authenticated" not in status


def test_an_expired_token_is_refused_with_that_reason(api_server: ApiServer, bot: Identity) -> None:
    token = _short_lived(api_server, bot, exp=1000)
    assert "service account token has expired" in review(api_server, token)["error"]


def test_a_token_that_is_not_valid_yet_is_refused(api_server: ApiServer, bot: Identity) -> None:
    token = _short_lived(api_server, bot, nbf=2**33 - 1)
    assert "not valid yet" in review(api_server, token)["error"]


def test_a_token_of_another_issuer_is_refused(api_server: ApiServer, bot: Identity) -> None:
    token = _short_lived(api_server, bot, iss="https://elsewhere.example.com")
    assert "authenticated" not in review(api_server, token)


def test_a_token_bound_to_a_secret_that_never_existed_is_refused_as_invalidated(
    api_server: ApiServer, bot: Identity
) -> None:
    account = {"name": "bot", "uid": bot.service_account_uid}
    secret = {"name": "absent", "uid": bot.secret_uid}
    private = {"namespace": bot.namespace, "serviceaccount": account, "secret": secret}
    token = _short_lived(api_server, bot, **{"kubernetes.io": private})
    assert "service account token has been invalidated" in review(api_server, token)["error"]


def test_a_token_with_another_uid_of_the_service_account_is_refused(
    api_server: ApiServer, bot: Identity
) -> None:
    private = {"namespace": bot.namespace, "serviceaccount": {"name": "bot", "uid": "another"}}
    token = _short_lived(api_server, bot, **{"kubernetes.io": private})
    assert "authenticated" not in review(api_server, token)


@pytest.mark.parametrize("which", ["short-lived", "long-lived"])
def test_text_after_the_token_is_ignored(api_server: ApiServer, bot: Identity, which: str) -> None:
    """So what a header holds is no key for a cache: it can be made endless."""
    token = bot.token if which == "long-lived" else issued_token(request_token(api_server, bot))
    assert review(api_server, f"{token.reveal()} junk")["authenticated"] is True


def test_an_authenticated_review_names_a_requested_audience(
    api_server: ApiServer, bot: Identity
) -> None:
    """An authenticator that knows no audiences would give an empty list; none here does."""
    bound = issued_token(request_token(api_server, bot, audiences=[GATE]))
    cases: list[tuple[Secret | str, str]] = [
        (bound, GATE), (bot.token, api_server.issuer), (f" {bound.reveal()}", GATE),
    ]  # fmt: skip
    for token, audience in cases:
        status = review(api_server, token, audiences=[audience])
        assert (status["authenticated"], status["audiences"]) == (True, [audience])


def test_a_review_without_a_token_is_a_400(api_server: ApiServer) -> None:
    answer = api_server.admin.request("POST", REVIEWS, {"spec": {}})
    assert (answer.code, answer.message) == (
        400,
        "token is required for TokenReview in authentication",
    )


def test_an_identity_may_not_review_tokens(api_server: ApiServer, bot: Identity) -> None:
    answer = post(api_server, REVIEWS, {"spec": {"token": "x"}}, token=bot.token)
    assert answer.code == 403
    assert answer.message == (
        f'tokenreviews.authentication.k8s.io is forbidden: User "{bot.user}" cannot create '
        'resource "tokenreviews" in API group "authentication.k8s.io" at the cluster scope'
    )


def test_an_auth_delegator_may_review_tokens(api_server: ApiServer, bot: Identity) -> None:
    with identities.bound_cluster_wide(api_server.admin, "system:auth-delegator", bot):
        eventually("the right to review tokens", lambda: _may_review(api_server, bot))


def _may_review(api_server: ApiServer, bot: Identity) -> bool:
    return post(api_server, REVIEWS, {"spec": {"token": "x"}}, token=bot.token).code == 201


def _short_lived(api_server: ApiServer, bot: Identity, **changes: object) -> Secret:
    account = {"name": bot.service_account, "uid": bot.service_account_uid}
    claims = {
        "iss": api_server.issuer,
        "sub": bot.user,
        "aud": [api_server.issuer],
        "iat": 1,
        "nbf": 1,
        "exp": 2**33,
        "jti": "x",
        "kubernetes.io": {"namespace": bot.namespace, "serviceaccount": account},
    }
    return api_server.sign({**claims, **changes})
