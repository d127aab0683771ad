"""What deleting a Secret or a ServiceAccount invalidates, and when."""

from __future__ import annotations

from contract.calls import claims, is_authenticated, issued_token, request_token, review
from contract.interface import ApiServer
from contract.keys import signature_is_good
from daypass._core.clock import SYSTEM_CLOCK
from support import identities
from support.deadline import eventually
from support.identities import Identity

CACHE_SECONDS = 10
INVALIDATED = "service account token has been invalidated"


def deleted(api_server: ApiServer, bot: Identity, path: str) -> None:
    """Delete an object that the identity's tokens are bound to, and wait until that is noticed.

    It is asked by tokens that were not asked about before: an answer from just before the API
    server notices is kept for ten seconds.
    """
    fresh = [identities.make_token(api_server.admin, bot) for _ in range(25)]
    api_server.admin.delete(path)
    eventually(f"{path} is gone", lambda: not is_authenticated(api_server, fresh.pop()))


def test_deleting_a_secret_invalidates_tokens_bound_to_it(
    api_server: ApiServer, bot: Identity
) -> None:
    token = identities.make_token(api_server.admin, bot)
    deleted(api_server, bot, bot.secret_path)
    assert INVALIDATED in review(api_server, token)["error"]


def test_deleting_a_secret_invalidates_an_uncached_long_lived_token_at_once(
    api_server: ApiServer, bot: Identity
) -> None:
    deleted(api_server, bot, bot.secret_path)
    assert not is_authenticated(api_server, bot.token)
    assert request_token(api_server, bot).code == 401


def test_a_token_just_used_stays_valid_for_the_ten_seconds_of_the_cache(
    api_server: ApiServer, bot: Identity
) -> None:
    """One cache of good answers stands in front of all kinds of tokens; use does not renew it."""
    bound_token = identities.make_token(api_server.admin, bot)
    tokens = [bound_token, bot.token]

    def good() -> list[bool]:
        return [is_authenticated(api_server, token) for token in tokens]

    assert good() == [True, True]
    used = SYSTEM_CLOCK.monotonic()
    deleted(api_server, bot, bot.secret_path)
    assert good() == [True, True]
    eventually("both end", lambda: good() == [False, False], seconds=2 * CACHE_SECONDS)
    assert SYSTEM_CLOCK.monotonic() - used > CACHE_SECONDS / 2
    assert INVALIDATED in review(api_server, bound_token)["error"]


def test_an_unbound_token_outlives_the_secret_of_its_requester(
    api_server: ApiServer, bot: Identity
) -> None:
    unbound_token = issued_token(request_token(api_server, bot))
    deleted(api_server, bot, bot.secret_path)
    assert is_authenticated(api_server, unbound_token)


def test_a_recreated_secret_does_not_revive_a_bound_token(
    api_server: ApiServer, bot: Identity
) -> None:
    token = identities.make_token(api_server.admin, bot)
    deleted(api_server, bot, bot.secret_path)
    identities.make_token_secret(api_server.admin, bot.namespace, "bot", name=bot.secret_name)
    assert not is_authenticated(api_server, token)
    assert "does not match service account secret ref claim" in review(api_server, token)["error"]


def test_deleting_a_service_account_invalidates_its_tokens(
    api_server: ApiServer, bot: Identity
) -> None:
    bound_token = identities.make_token(api_server.admin, bot)
    unbound_token = identities.make_token(api_server.admin, bot, bound=False)
    deleted(api_server, bot, _account(bot))
    for token in (bound_token, unbound_token):
        assert 'serviceaccounts "bot" not found' in review(api_server, token)["error"]
    assert not is_authenticated(api_server, bot.token)


def test_deleting_a_service_account_deletes_its_token_secrets(
    api_server: ApiServer, bot: Identity
) -> None:
    api_server.admin.delete(_account(bot))
    eventually("the Secret goes", lambda: api_server.admin.find(bot.secret_path) is None)


def test_a_signature_stays_valid_after_deletion(api_server: ApiServer, bot: Identity) -> None:
    token = identities.make_token(api_server.admin, bot)
    deleted(api_server, bot, _account(bot))
    assert not is_authenticated(api_server, token)
    assert signature_is_good(api_server, token)


def test_a_recreated_service_account_has_the_same_subject_and_another_uid(
    api_server: ApiServer, bot: Identity
) -> None:
    old = identities.make_token(api_server.admin, bot, bound=False)
    deleted(api_server, bot, _account(bot))
    again = identities.make_identity(api_server.admin, bot.namespace, "bot", authorize=False)
    new = identities.make_token(api_server.admin, again)
    assert claims(old)["sub"] == claims(new)["sub"]
    uids = {claims(token)["kubernetes.io"]["serviceaccount"]["uid"] for token in (old, new)}
    assert len(uids) == 2
    assert not is_authenticated(api_server, old)
    assert is_authenticated(api_server, new)


def _account(bot: Identity) -> str:
    return f"/api/v1/namespaces/{bot.namespace}/serviceaccounts/{bot.service_account}"
