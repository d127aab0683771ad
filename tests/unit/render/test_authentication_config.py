"""The API server's AuthenticationConfiguration: trusted users, and what a merge keeps."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.render.authentication_config import (
    BadTrustError,
    TrustedIssuer,
    authentication_configuration,
)
from support.messages import raises

GITHUB = "https://token.actions.githubusercontent.com"
DOOR = "https://ekf.example.com/kubernetes"
MAIN, TAG = "repo:org/app:ref:refs/heads/main", "repo:org/app:ref:refs/tags/v1"


def trusted(*subjects: str, url: str = GITHUB, audience: str = DOOR) -> TrustedIssuer:
    return TrustedIssuer(url=url, audience=audience, subjects=subjects or (MAIN,))


def test_a_user_name_is_made_of_issuer_and_subject_and_no_other_issuer_can_produce_it() -> None:
    """`#` ends the issuer, and an issuer URL can't contain one."""
    assert trusted().users == (f"federated:token.actions.githubusercontent.com#{MAIN}",)
    own = trusted("b#c", url="https://a.example")
    assert own.users == ("federated:a.example#b#c",)
    assert not own.users[0].startswith(trusted(url="https://a.example/b").user_prefix)
    assert not own.users[0].startswith(trusted(url="https://a").user_prefix)


def test_a_second_identity_of_an_issuer_is_merged_into_its_entry() -> None:
    once = authentication_configuration(trusted(MAIN))
    twice = authentication_configuration(trusted(TAG, audience="other"), once)
    (entry,) = twice["jwt"]
    assert entry["issuer"]["audiences"] == [DOOR, "other"]
    assert entry["claimValidationRules"][0]["expression"] == f'claims.sub in ["{MAIN}", "{TAG}"]'
    assert authentication_configuration(trusted(TAG, audience="other"), twice) == twice
    assert authentication_configuration(trusted(MAIN), twice) == twice


EXISTING: dict[str, Any] = {
    "apiVersion": "apiserver.config.k8s.io/v1beta1",
    "kind": "AuthenticationConfiguration",
    "anonymous": {"enabled": True, "conditions": [{"path": "/readyz"}]},
    "jwt": [
        {
            "issuer": {"url": "https://login.example.com", "audiences": ["kubectl"]},
            "claimMappings": {"username": {"claim": "email", "prefix": ""}},
        }
    ],
}


def test_existing_entries_are_kept() -> None:
    merged = authentication_configuration(trusted(), EXISTING)
    assert merged["apiVersion"] == "apiserver.config.k8s.io/v1beta1"
    assert merged["anonymous"] == EXISTING["anonymous"]
    assert merged["jwt"][0] == EXISTING["jwt"][0]
    assert len(merged["jwt"]) == 2
    assert len(EXISTING["jwt"]) == 1


def test_a_foreign_entry_for_the_issuer_is_rejected() -> None:
    with raises(BadTrustError, match=r"https://login\.example\.com"):
        authentication_configuration(trusted(url="https://login.example.com"), EXISTING)


@pytest.mark.parametrize(
    "change",
    [
        {"claimMappings": {"username": {"claim": "sub", "prefix": "system:"}}},
        {"claimValidationRules": [{"expression": "true"}]},
        {"claimValidationRules": []},
        {"userValidationRules": [{"expression": "true"}]},
    ],
    ids=["prefix", "rule", "no rule", "user rule"],
)
def test_an_edited_entry_is_not_treated_as_managed(change: dict[str, Any]) -> None:
    existing = authentication_configuration(trusted())
    existing["jwt"][0] |= change
    with raises(BadTrustError, match=r"https://token\.actions\.githubusercontent\.com"):
        authentication_configuration(trusted(TAG), existing)


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "https://issuer.example#x", "https://me:secret@issuer.example"]
)
def test_an_issuer_must_be_a_plain_https_url(url: str) -> None:
    with raises(BadTrustError) as caught:
        trusted(url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("subject", ["", "a\n", "repo:org/*", 'a"] || true || claims.sub in ["'])
def test_a_subject_must_be_plain_text_without_wildcards(subject: str) -> None:
    with raises(BadTrustError):
        trusted(subject)
