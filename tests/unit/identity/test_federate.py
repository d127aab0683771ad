"""The anchor of a federated identity: what its tokens are bound to, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from daypass._core.errors import DaypassError, UsageError
from daypass._core.findings import Level
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import uid_of
from daypass.cli.identity.list import identity_output
from daypass.identity.create import FederatedIdentityError
from daypass.identity.credential_secrets import NoRoomError
from daypass.identity.delete import delete, delete_expired, revoke
from daypass.identity.health import IdentityHealth, examine
from daypass.identity.model import IdentityName, InactiveIdentityError, token_secret
from daypass.identity.records import list_objects
from daypass.identity.rotate import find_rotations, rotate
from daypass.kube.cluster import Cluster
from daypass.kube.resources import ROLE_BINDINGS, SECRETS, SERVICE_ACCOUNTS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    DISGUISES,
    GATE,
    ISSUER,
    SETTINGS,
    Warnings,
    accepts,
    disguise,
    exchange,
    make,
    make_federated,
    own_secrets,
    renew,
    rotate_one,
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


def test_an_anchor_is_empty_and_marked_and_names_its_account(embedded: EmbeddedCluster) -> None:
    filled = make_federated(embedded.cluster)
    anchor = filled.secret
    secret = embedded.cluster.get(SECRETS, anchor.name, "team")
    assert uid_of(secret) == anchor.uid
    assert secret["type"] == "daypass.dev/anchor"
    assert not secret.get("data")
    assert secret["metadata"]["labels"][labels.MANAGED_BY] == labels.MANAGER
    account = embedded.cluster.get(SERVICE_ACCOUNTS, "bot", "team")
    assert secret["metadata"]["annotations"] == {
        labels.IDENTITY: "team/bot",
        f"{ACCOUNT}.name": "bot",
        f"{ACCOUNT}.uid": uid_of(account),
        labels.SOURCE: f"github:{ISSUER}",
    }
    assert json.loads(SETTINGS.file_content(filled)) == {
        "type": "daypass",
        "version": 1,
        "door": SETTINGS.door,
        "namespace": "team",
        "serviceAccount": "bot",
        "secretName": anchor.name,
        "token": {"github": {"audience": ISSUER}},
        "audience": GATE,
        "lifetimeSeconds": 3600,
    }


def test_another_run_keeps_the_anchor_or_gives_one_to_an_identity_without(
    embedded: EmbeddedCluster,
) -> None:
    first = anchor_of(embedded.cluster)
    assert anchor_of(embedded.cluster) == first
    embedded.cluster.delete(SECRETS, first, "team")
    assert [each.check for each in health(embedded).findings] == ["no-anchor"]
    check(health(embedded).findings[0].sentence, reason="no-anchor")
    assert anchor_of(embedded.cluster) != first
    assert health(embedded).findings == ()


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
        assert [each.name for each in revoke(embedded.cluster, BOT)[0]] == [anchor]
    else:
        deleted = delete(embedded.cluster, BOT, warn=silent).deleted
        assert deleted[0] == "rolebindings/bot-daypass-federated in team"
        assert deleted[1] == f"secrets/{anchor} in team"
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


def test_a_rotation_makes_a_new_anchor_and_ends_the_old_one_after_the_overlap(
    embedded: EmbeddedCluster,
) -> None:
    old = anchor_of(embedded.cluster)
    is_accepted = bound_token(embedded, old)
    files: list[bytes] = []
    rotated = rotate_one(embedded.cluster, BOT, files.append, overlap_seconds=DAY)
    document = json.loads(files[0])
    assert document["secretName"] == rotated.secret_name != old
    assert document["token"] == {"github": {"audience": ISSUER}}
    assert bound_token(embedded, rotated.secret_name)()
    assert is_accepted()
    embedded.clock.advance(DAY)
    assert [
        each.name for each in delete_expired(embedded.cluster, "team", warn=silent).deleted
    ] == [old]
    embedded.clock.advance(11)
    assert not is_accepted()
    again = renew(embedded.cluster, overlap_seconds=0)
    assert [each.name for each in own_secrets(embedded.cluster)] == [again.secret_name]
    assert anchor_of(embedded.cluster) == again.secret_name


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


@pytest.mark.parametrize("is_all", [True, False], ids=["rotate --all", "rotate"])
@pytest.mark.parametrize("overlap_seconds", [0, DAY])
def test_a_token_left_of_a_federated_identity_is_retired_and_its_anchor_stays(
    embedded: EmbeddedCluster, is_all: bool, overlap_seconds: int
) -> None:
    long_lived = make(embedded.cluster)
    warnings = Warnings()
    anchor = make_federated(embedded.cluster, warn=warnings).secret.name
    check(warnings[0], long_lived.secret.name, "rotate bot -n team", reason="warning")
    is_accepted = bound_token(embedded, anchor)
    (found,) = health(embedded).findings
    assert (found.check, found.level) == ("rotation-unfinished", Level.FAILURE)
    check(found.sentence, long_lived.secret.name, "rotate bot -n team", reason=found.check)
    with raises(FederatedIdentityError):
        make(embedded.cluster)
    files: list[bytes] = []
    if is_all:
        (rotation,) = find_rotations(embedded.cluster, None, older_than_seconds=DAY)
        rotate(
            embedded.cluster, [rotation], overlap_seconds=overlap_seconds,
            deliver=lambda _, content: files.append(content),
        )  # fmt: skip
        assert rotation.error is None
    else:
        rotate_one(embedded.cluster, BOT, files.append, overlap_seconds=overlap_seconds)
    assert json.loads(files[0])["secretName"] == anchor
    assert accepts(embedded.cluster, long_lived.token) == bool(overlap_seconds)
    assert health(embedded).findings == ()
    embedded.clock.advance(overlap_seconds + 11)
    delete_expired(embedded.cluster, "team", warn=silent)
    embedded.clock.advance(11)
    assert not accepts(embedded.cluster, long_lived.token)
    token = exchange(embedded.cluster, BOT, bound_to=anchor)
    assert not isinstance(token, DaypassError)
    assert [each.name for each in own_secrets(embedded.cluster)] == [anchor]
    assert is_accepted() == (overlap_seconds == 0)  # a token of an hour


def test_a_token_in_place_of_an_anchor_is_a_problem(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster)
    embedded.cluster.delete(SECRETS, anchor_of(embedded.cluster), "team")
    (found,) = health(embedded).findings
    assert (found.check, found.level) == ("no-anchor", Level.FAILURE)
    check(found.sentence, reason=found.check)
    anchor_of(embedded.cluster)
    renew(embedded.cluster, overlap_seconds=0)
    assert health(embedded).findings == ()
