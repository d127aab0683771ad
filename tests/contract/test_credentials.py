"""How the credentials and the path of a request are read."""

from __future__ import annotations

import pytest

from contract.calls import JSON, post, token_request
from contract.interface import ApiServer, send
from daypass._core.secret import Secret
from support.admin import Answer
from support.identities import Identity


def with_authorization(api_server: ApiServer, bot: Identity, *values: str) -> Answer:
    headers = [("Authorization", value) for value in values]
    headers.append(("Content-Type", JSON))
    return send(api_server, "POST", bot.token_path, headers=headers, body=b"{}")


def anonymous_message(bot: Identity, verb: str = "create") -> str:
    return (
        f'serviceaccounts "{bot.service_account}" is forbidden: User "system:anonymous" cannot '
        f'{verb} resource "serviceaccounts/token" in API group "" in the namespace '
        f'"{bot.namespace}"'
    )


def test_without_credentials_the_answer_is_a_403_that_names_system_anonymous(
    api_server: ApiServer, bot: Identity
) -> None:
    answer = post(api_server, bot.token_path, {}, token=None)
    assert (answer.code, answer.message) == (403, anonymous_message(bot))


def test_a_get_without_credentials_is_a_403(api_server: ApiServer, bot: Identity) -> None:
    answer = send(api_server, "GET", bot.token_path)
    assert (answer.code, answer.message) == (403, anonymous_message(bot, "get"))


def test_an_authorized_get_is_a_405(api_server: ApiServer, bot: Identity) -> None:
    assert api_server.admin.request("GET", bot.token_path).code == 405


@pytest.mark.parametrize("token", ["nonsense", "a.b.c"])
def test_a_bad_token_is_a_401_without_details(
    api_server: ApiServer, bot: Identity, token: str
) -> None:
    answer = post(api_server, bot.token_path, {}, token=Secret(token))
    assert (answer.code, answer.message) == (401, "Unauthorized")
    assert "details" not in answer.json
    assert answer.json["reason"] == "Unauthorized"


def test_an_expired_token_is_a_401(api_server: ApiServer, bot: Identity) -> None:
    claims = {"iss": api_server.issuer, "sub": bot.user, "aud": [api_server.issuer], "exp": 1}
    assert post(api_server, bot.token_path, {}, token=api_server.sign(claims)).code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_case_insensitive(api_server: ApiServer, bot: Identity, scheme: str) -> None:
    assert with_authorization(api_server, bot, f"{scheme} {bot.token.reveal()}").code == 201


@pytest.mark.parametrize("junk", [" junk", " a b", " ,", "  "])
def test_text_after_the_token_in_the_header_is_ignored(
    api_server: ApiServer, bot: Identity, junk: str
) -> None:
    assert with_authorization(api_server, bot, f"Bearer {bot.token.reveal()}{junk}").code == 201


@pytest.mark.parametrize("gap", ["  ", "\t", "\t ", ""], ids=["two spaces", "tab", "both", "none"])
def test_any_separator_but_one_space_counts_as_no_credentials(
    api_server: ApiServer, bot: Identity, gap: str
) -> None:
    answer = with_authorization(api_server, bot, f"Bearer{gap}{bot.token.reveal()}")
    assert (answer.code, answer.message) == (403, anonymous_message(bot))


def test_two_spaces_cause_a_warning(api_server: ApiServer, bot: Identity) -> None:
    answer = with_authorization(api_server, bot, f"Bearer  {bot.token.reveal()}")
    assert len(answer.warnings) == 1
    assert "Authorization" in answer.warnings[0]


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YTpi", "{token}"])
def test_anything_but_a_bearer_token_counts_as_no_credentials(
    api_server: ApiServer, bot: Identity, value: str
) -> None:
    answer = with_authorization(api_server, bot, value.format(token=bot.token.reveal()))
    assert (answer.code, answer.message) == (403, anonymous_message(bot))


def test_the_first_of_two_authorization_headers_is_used(
    api_server: ApiServer, bot: Identity
) -> None:
    good = f"Bearer {bot.token.reveal()}"
    assert with_authorization(api_server, bot, good, "Basic YTpi").code == 201
    assert with_authorization(api_server, bot, "Basic YTpi", good).code == 403


@pytest.mark.parametrize(
    "ending",
    [
        "%2ftoken",
        "%2Ftoken",
        "/%74oken",
        "/toke%6E",
        "/token/",
        "/token//",
        "%2f%74oken",
        "/token?",
    ],
)
def test_the_path_is_decoded_and_trailing_slashes_dropped(
    api_server: ApiServer, bot: Identity, ending: str
) -> None:
    """All of these are the token subresource, whatever a proxy in front makes of them."""
    base = bot.token_path.removesuffix("/token")
    answer = post(api_server, base + ending, token_request(), token=bot.token)
    assert (answer.code, answer.json["kind"]) == (201, "TokenRequest")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/{ns}/serviceaccounts/x/../bot/token",
        "/api/v1/namespaces/x/../{ns}/serviceaccounts/bot/token",
        "/api/v1/namespaces/{ns}/serviceaccounts/bot/x/../token",
        "/api/v1/namespaces/{ns}/serviceaccounts//bot/token",
        "/api/v1/namespaces//{ns}/serviceaccounts/bot/token",
        "/api//v1/namespaces/{ns}/serviceaccounts/bot/token",
        "/x/../api/v1/namespaces/{ns}/serviceaccounts/bot/token",
        "/api/v1/namespaces/{ns}/serviceaccounts/%2e%2e/serviceaccounts/bot/token",
        "/api/v1/namespaces/{ns}/serviceaccounts/bot/TOKEN",
        "/api/v1/namespaces/{ns}/serviceaccounts/bot/tokenx",
        "/api/v1/namespaces/{ns}/serviceaccounts/bot/token%00",
        "/api/v1/namespaces/{ns}/serviceaccounts/bot%252ftoken",
    ],
)
def test_dots_and_double_slashes_are_not_normalised(
    api_server: ApiServer, bot: Identity, path: str
) -> None:
    target = path.format(ns=bot.namespace)
    answer = post(api_server, target, token_request(), token=bot.token)
    assert answer.code == 403, answer.body


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/namespaces/{ns}/serviceaccounts/bot/token",
        "/api/v1/namespaces/{ns}/serviceaccounts/bot/token/x",
    ],
)
def test_extra_slashes_and_segments_pass_authorization_but_are_not_found(
    api_server: ApiServer, bot: Identity, path: str
) -> None:
    """RBAC takes them for the token's path, the router does not."""
    target = path.format(ns=bot.namespace)
    assert post(api_server, target, token_request(), token=bot.token).code == 404
    assert post(api_server, target, token_request(), token=None).code == 403
