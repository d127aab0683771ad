"""Signed tokens with duplicate and odd claims, as the token to exchange and as the door's answer.

Parsers disagree about them, so nothing that the client reads from one may depend on the parser. It
reads nothing from the token that a door issues: that is for services and the gate.
"""

from __future__ import annotations

import base64
import json

import pytest

from daypass.client.errors import CredentialsError
from support.exchanges import CredentialsAtDoor
from support.fake_door import (
    NAMESPACE,
    SECRET,
    SENTINEL,
    SERVICE_ACCOUNT,
    token_answer,
)
from support.messages import raises
from support.timing import NOON
from unit.client.conftest import Ask

FLAT = "kubernetes.io/serviceaccount/"
GOOD = {
    FLAT + "namespace": NAMESPACE,
    FLAT + "service-account.name": SERVICE_ACCOUNT,
    FLAT + "secret.name": SECRET,
}
NAMES = {"namespace": "team", "serviceAccount": "deployer"}


def signed(claims: str, header: str = '{"alg": "RS256"}') -> str:
    """A token of these texts, whatever they are."""
    parts = [
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (header, claims)
    ]
    return ".".join((*parts, SENTINEL))


def with_more(text: str) -> str:
    """The claims of a good long-lived token, and these."""
    return json.dumps(GOOD)[:-1] + f", {text}}}"


UNREADABLE = {
    "aud twice": with_more('"aud": "a", "aud": "b"'),
    "namespace again, escaped": with_more(
        '"kubernetes.io\\/serviceaccount\\/n\\u0061mespace": "x"'
    ),
    "nested twice": with_more('"kubernetes.io": {"namespace": "a", "namespace": "b"}'),
    "huge integer": with_more(f'"exp": {"9" * 400}'),
    "NaN": with_more('"exp": NaN'),
    "half a character": with_more('"x": "\\ud800"'),
    "deep": with_more('"x": ' + "[" * 4000 + "]" * 4000),
    "two objects": json.dumps(GOOD) * 2,
    "no object": "null",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_token_that_parsers_read_differently_is_not_exchanged(
    wired: CredentialsAtDoor, case: str
) -> None:
    for names in ({}, NAMES):
        with raises(CredentialsError) as raised:
            wired(lambda _: token_answer(), token=signed(UNREADABLE[case]), **names)
        assert raised.value.reason == "malformed-token"
        assert SENTINEL not in str(raised.value)


def test_a_header_with_alg_twice_is_refused_too(wired: CredentialsAtDoor) -> None:
    header = '{"alg": "RS256", "alg": "none"}'
    with raises(CredentialsError, match="header"):
        wired(lambda _: token_answer(), token=signed(json.dumps(GOOD), header))


@pytest.mark.parametrize("name", [r"te\u0061m\u0000", r"team\/x"])
def test_an_escaped_name_is_judged_by_what_it_stands_for(
    wired: CredentialsAtDoor, name: str
) -> None:
    claims = json.dumps(GOOD).replace(f'"{NAMESPACE}"', f'"{name}"')
    with raises(CredentialsError, match="namespace") as raised:
        wired(lambda _: token_answer(), token=signed(claims))
    assert raised.value.reason == "invalid-name"


def test_escaped_claims_of_a_good_token_are_read_as_what_they_stand_for(
    wired: CredentialsAtDoor, ask: Ask
) -> None:
    claims = json.dumps(GOOD).replace("/", "\\/").replace('"team"', '"t\\u0065am"')
    assert claims != json.dumps(GOOD)
    credentials = wired(lambda _: token_answer(), token=signed(claims))
    assert (credentials.namespace, credentials.secret_name) == (NAMESPACE, SECRET)
    ask(credentials)
    assert f"/namespaces/{NAMESPACE}/serviceaccounts/" in wired.wire.requests[0].target


ISSUED = {
    "aud twice": UNREADABLE["aud twice"],
    "expired": json.dumps({"exp": 1}),
    "another audience": json.dumps({"aud": ["other"]}),
    "not JSON": "{",
}


@pytest.mark.parametrize("case", ISSUED)
def test_the_claims_of_an_issued_token_change_nothing(
    wired: CredentialsAtDoor, ask: Ask, case: str
) -> None:
    issued = signed(ISSUED[case])
    grant = {"token": issued, "expirationTimestamp": "2027-01-15T09:00:00Z"}
    token = ask(wired(lambda _: token_answer(status=grant)))
    assert token.value.reveal() == issued
    assert token.expires_at.timestamp() == NOON + 3600
