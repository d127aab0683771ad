"""The anchor of a federated identity: what its tokens are bound to, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Level
from daypass._core.kubernetes import labels
from daypass.cli.identity.list import identity_output
from daypass.identity.accounts import IdentityName, InactiveIdentityError, token_secret
from daypass.identity.create import FederatedIdentityError
from daypass.identity.credential_secrets import NoRoomError
from daypass.identity.delete import delete, revoke
from daypass.identity.health import IdentityHealth, examine
from daypass.identity.records import list_objects
from daypass.kube.cluster import Cluster
from daypass.kube.resources import ROLE_BINDINGS, SECRETS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    DISGUISES,
    GATE,
    Warnings,
    accepts,
    disguise,
    exchange,
    make,
    make_federated,
    own_secrets,
    renew,
    silent,
)
from support.messages import check, raises

DAY = 86_400
ACCOUNT = "kubernetes.io/service-account"


def anchor_of(cluster: Cluster) -> str:
    return make_federated(cluster).secret.name


def bound_token(embedded: EmbeddedCluster, anchor: str) -> Callable[[], bool]:
    """Whether a token that is bound to the anchor is accepted still."""
    token = exchange(embedded.cluster, BOT, bound_to=anchor)
    assert not isinstance(token, DaypassError)
    return lambda: accepts(embedded.cluster, token, GATE)


def health(embedded: EmbeddedCluster) -> IdentityHealth:
    objects = replace(list_objects(embedded.cluster, "team", warn=silent), policy_bindings=None)
    (examined,) = examine(objects, embedded.clock, namespace="team")
    return examined


@pytest.mark.parametrize("is_revoked", [False, True], ids=["live", "revoked"])
def test_a_federated_identity_gets_no_long_lived_token(
    embedded: EmbeddedCluster, is_revoked: bool
) -> None:
    anchor = anchor_of(embedded.cluster)
    if is_revoked:
        revoke(embedded.cluster, BOT)
    with raises(FederatedIdentityError, match="(?s)federate --help.*delete bot -n team"):
        make(embedded.cluster)
    if is_revoked:
        with raises(InactiveIdentityError, match=r"\ndaypass identity federate --help$"):
            renew(embedded.cluster)
    left = [each.name for each in own_secrets(embedded.cluster)]
    assert left == ([] if is_revoked else [anchor])
    names = {each["metadata"]["name"] for each in embedded.cluster.list(ROLE_BINDINGS, "team")}
    assert "bot-daypass-token" not in names


def test_an_anchor_takes_the_room_of_a_credential(
    embedded: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daypass.identity.credential_secrets.find_room", lambda cluster: 1)
    anchor_of(embedded.cluster)
    anchor_of(embedded.cluster)  # the same
    with raises(NoRoomError, match="team"):
        make(embedded.cluster, IdentityName(namespace="team", name="other"))


@pytest.mark.parametrize("kind", DISGUISES)
@pytest.mark.parametrize("end", ["revoke", "delete"])
def test_a_revocation_or_deletion_ends_the_tokens_that_are_bound_to_an_anchor(
    embedded: EmbeddedCluster, end: str, kind: str
) -> None:
    anchor = anchor_of(embedded.cluster)
    is_accepted = bound_token(embedded, anchor)
    disguise(embedded.cluster, kind, BOT, anchor)
    assert is_accepted()
    if end == "revoke":
        revoke(embedded.cluster, BOT)
    else:
        delete(embedded.cluster, BOT, warn=silent)
    embedded.clock.advance(11)
    assert not is_accepted()
    assert isinstance(exchange(embedded.cluster, BOT, bound_to=anchor), DaypassError)


def test_a_revocation_deletes_a_look_alike_of_another_type_without_a_label(
    embedded: EmbeddedCluster,
) -> None:
    anchor_of(embedded.cluster)
    look_alike = f"bot-daypass-anchor-{'0' * 20}"
    metadata = {"name": look_alike, "namespace": "team"}
    embedded.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    is_accepted = bound_token(embedded, look_alike)
    assert look_alike in {each.name for each in revoke(embedded.cluster, BOT)[0]}
    embedded.clock.advance(11)
    assert not is_accepted()


def test_a_long_lived_token_in_a_secret_with_the_name_of_an_anchor_is_reported(
    embedded: EmbeddedCluster,
) -> None:
    anchor_of(embedded.cluster)
    disguised = f"bot-daypass-anchor-{'0' * 20}"
    embedded.cluster.create(token_secret(BOT, disguised))
    assert [each.check for each in health(embedded).findings] == ["rotation-unfinished"]
    shown = {each.secret: each.anchor for each in identity_output(health(embedded)).tokens}
    assert shown[disguised] is False
    assert disguised in {each.name for each in revoke(embedded.cluster, BOT)[0]}


@pytest.mark.parametrize("source", ["exec:rm", "github:", "file:" + "x" * 5000, "variable:A=B"])
def test_an_anchor_with_a_changed_source_is_not_rotated(
    embedded: EmbeddedCluster, source: str
) -> None:
    anchor = anchor_of(embedded.cluster)
    change = {"metadata": {"annotations": {labels.SOURCE: source}}}
    embedded.cluster.patch(SECRETS, anchor, change, "team")
    with raises(UsageError, match=f"(?s)source.*{labels.SOURCE}"):
        renew(embedded.cluster)
    assert [each.name for each in own_secrets(embedded.cluster)] == [anchor]
    assert anchor_of(embedded.cluster) == anchor
    assert renew(embedded.cluster).error is None


def test_a_token_left_of_a_federated_identity_is_retired_and_its_anchor_stays(
    embedded: EmbeddedCluster,
) -> None:
    long_lived = make(embedded.cluster)
    warnings = Warnings()
    anchor = make_federated(embedded.cluster, warn=warnings).secret.name
    check(warnings[0], long_lived.secret.name, "rotate bot -n team", reason="warning")
    (found,) = health(embedded).findings
    assert (found.check, found.level) == ("rotation-unfinished", Level.FAILURE)
    check(found.sentence, long_lived.secret.name, "rotate bot -n team", reason=found.check)
    files: list[bytes] = []
    renew(embedded.cluster, BOT, files.append, overlap_seconds=0)
    assert json.loads(files[0])["secretName"] == anchor
    assert health(embedded).findings == ()
    assert [each.name for each in own_secrets(embedded.cluster)] == [anchor]


@pytest.mark.parametrize("has_token", [False, True])
def test_a_federated_identity_without_an_anchor_has_a_problem(
    embedded: EmbeddedCluster, has_token: bool
) -> None:
    if has_token:
        make(embedded.cluster)
    embedded.cluster.delete(SECRETS, anchor_of(embedded.cluster), "team")
    (found,) = health(embedded).findings
    assert (found.check, found.level == Level.FAILURE) == ("no-anchor", has_token)
    check(found.sentence, reason=found.check)
    anchor_of(embedded.cluster)
    renew(embedded.cluster, overlap_seconds=0)
    assert health(embedded).findings == ()
