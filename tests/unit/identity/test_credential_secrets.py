"""Which Secret of an identity is live and current, and waiting for its token."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from daypass.identity.accounts import ForeignAccountError, token_secret
from daypass.identity.credential_secrets import (
    CredentialSecret,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
    wait_for_token,
)
from daypass.kube.cluster import NotReadyError
from support.embedded import EmbeddedCluster
from support.fake_door import long_lived_token
from support.lifecycle import BOT
from support.messages import raises


def secret(name: str, created: int = 1, **fields: Any) -> CredentialSecret:
    whole = CredentialSecret(
        account=BOT, account_uid="u", name=name, uid=name,
        created=f"2026-11-24T16:00:0{created}Z", is_ours=True, is_known=True, has_token=True,
        is_anchor=False, replaces=None, retire_after=None,
    )  # fmt: skip
    return replace(whole, **fields)


def test_live_secrets_are_managed_not_retired_and_of_this_account() -> None:
    secrets = [
        secret("a"),
        secret("b", is_ours=False),
        secret("c", retire_after="2026-11-24T16:00:00Z"),
        secret("d", account_uid="of an account that is gone"),
        secret("e", account_uid=""),
    ]
    assert [each.name for each in live_secrets(secrets, "u")] == ["a", "e"]


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("bot-daypass-0123456789abcdefghij", True),
        ("bot-daypass-0123456789abcdefghijk", False),
        ("-daypass-0123456789abcdefghij", False),
        ("by-hand", False),
    ],
)
def test_a_token_secret_is_known_by_its_name_alone(name: str, is_ours: bool) -> None:
    document = token_secret(BOT, name)
    document["metadata"] |= {"uid": "u", "labels": {}}
    assert CredentialSecret.read(document).is_ours is is_ours


def test_a_secret_with_our_name_stays_its_account_s_whatever_it_is_annotated_with() -> None:
    document = token_secret(BOT, "bot-daypass-0123456789abcdefghij")
    annotations = {
        "kubernetes.io/service-account.name": "other", "kubernetes.io/service-account.uid": "o",
    }  # fmt: skip
    document["metadata"] |= {"uid": "u", "labels": {}, "annotations": annotations}
    read = CredentialSecret.read(document, has_token=True)
    assert (read.account, read.is_ours) == (BOT, True)
    assert live_secrets([read], "uid of bot") == [read]


@pytest.mark.parametrize(
    ("secrets", "name", "unfinished"),
    [
        ([secret("a")], "a", False),
        ([secret("a", replaces="gone")], "a", False),
        # One second, one of them random: only the annotation tells which is newer.
        ([secret("a", replaces="b"), secret("b")], "a", True),
        ([secret("a", 2), secret("b", 1)], "a", False),
        ([secret("a", 1, replaces="b"), secret("b", 1, replaces="a")], "b", True),
    ],
    ids=["one", "replaces one that is gone", "a replaces b", "newer", "cycle"],
)
def test_the_current_secret_is_the_one_that_no_other_replaces(
    secrets: list[CredentialSecret], name: str, unfinished: bool
) -> None:
    found = current_secret(secrets)
    assert found is not None
    assert (found.name, is_rotation_unfinished(found, secrets)) == (name, unfinished)


def test_a_secret_without_a_token_is_an_error_after_30_seconds(embedded: EmbeddedCluster) -> None:
    metadata = {"name": "empty", "namespace": "team"}
    embedded.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    began = embedded.clock.now_unix
    with raises(NotReadyError, match="waited 30s for .*team/empty"):
        wait_for_token(embedded.cluster, BOT, "empty")
    assert 30 <= embedded.clock.now_unix - began < 32


def test_a_token_of_another_account_is_not_handed_out(embedded: EmbeddedCluster) -> None:
    other = base64.b64encode(long_lived_token(service_account="other").encode()).decode()
    metadata = {"name": "bot-daypass-01234567890123456789", "namespace": "team"}
    embedded.cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"token": other}}
    )
    with raises(ForeignAccountError, match="holds a token of other"):
        wait_for_token(embedded.cluster, BOT, metadata["name"])
