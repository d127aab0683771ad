"""The anchor of a federated identity: what its tokens are bound to, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.objects import uid_of
from daypass.identity.create import IdentitySpec
from daypass.identity.credential_secrets import NoRoomError
from daypass.identity.delete import delete, revoke
from daypass.identity.federate import federate
from daypass.identity.health import IdentityHealth, examine
from daypass.identity.inventory import list_objects
from daypass.identity.model import token_secret
from daypass.identity.reap import reap
from daypass.identity.report import json_document, table_rows
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
    dry_run,
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


def bound_token(world: EmbeddedCluster, anchor: str) -> Callable[[], bool]:
    """Whether a token that is bound to the anchor is accepted still."""
    token = exchange(world.cluster, BOT, bound_to=anchor)
    assert not isinstance(token, DaypassError)
    return lambda: accepts(world.cluster, token, GATE)


def health(world: EmbeddedCluster) -> IdentityHealth:
    objects = replace(list_objects(world.cluster, "team", warn=silent), policy_bindings=None)
    (examined,) = examine(objects, world.clock, namespace="team", unused_seconds=DAY)
    return examined


def test_an_anchor_is_empty_and_marked_and_names_its_account(world: EmbeddedCluster) -> None:
    filled = make_federated(world.cluster)
    anchor = filled.secret
    secret = world.cluster.get(SECRETS, anchor.name, "team")
    assert uid_of(secret) == anchor.uid
    assert secret["type"] == "daypass.dev/anchor"
    assert not secret.get("data")
    assert secret["metadata"]["labels"][labels.MANAGED_BY] == labels.MANAGER
    account = world.cluster.get(SERVICE_ACCOUNTS, "bot", "team")
    assert secret["metadata"]["annotations"] == {
        labels.IDENTITY: "team/bot",
        f"{ACCOUNT}.name": "bot",
        f"{ACCOUNT}.uid": uid_of(account),
        labels.SOURCE: f"github:{ISSUER}",
    }
    assert json.loads(SETTINGS.file_content(filled.token, anchor)) == {
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


def test_another_run_keeps_the_anchor_and_gives_one_to_an_identity_of_an_earlier_version(
    world: EmbeddedCluster,
) -> None:
    first = anchor_of(world.cluster)
    assert anchor_of(world.cluster) == first
    world.cluster.delete(SECRETS, first, "team")
    assert [each.code for each in health(world).findings] == ["no-anchor"]
    check(health(world).findings[0].text, reason="no-anchor")
    assert anchor_of(world.cluster) != first
    assert health(world).findings == ()


def test_a_dry_run_creates_no_anchor(world: EmbeddedCluster) -> None:
    spec = IdentitySpec(name=BOT, credentials=SETTINGS)
    with dry_run(world.cluster) as cluster:
        anchor, _ = federate(cluster, spec, None, users=["main"], source="file:x", warn=silent)
    assert anchor is None
    assert own_secrets(world.cluster) == []


def test_an_anchor_takes_the_room_of_a_credential(
    world: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daypass.identity.credential_secrets.find_room", lambda cluster: 1)
    anchor_of(world.cluster)
    anchor_of(world.cluster)  # the same
    with raises(NoRoomError, match="team"):
        make(world.cluster)


@pytest.mark.parametrize("kind", [*DISGUISES, "none"])
@pytest.mark.parametrize("end", ["revoke", "delete"])
def test_a_revocation_or_deletion_ends_the_tokens_that_are_bound_to_an_anchor(
    world: EmbeddedCluster, end: str, kind: str
) -> None:
    anchor = anchor_of(world.cluster)
    is_accepted = bound_token(world, anchor)
    if kind in DISGUISES:
        disguise(world.cluster, kind, BOT, anchor)
    assert is_accepted()
    if end == "revoke":
        assert [each.name for each in revoke(world.cluster, BOT).deleted] == [anchor]
    else:
        deleted = delete(world.cluster, BOT, warn=silent).deleted
        assert deleted[0] == "rolebindings/bot-daypass-federated in team"
        assert deleted[1] == f"secrets/{anchor} in team"
    world.clock.advance(11)
    assert not is_accepted()
    assert isinstance(exchange(world.cluster, BOT, bound_to=anchor), DaypassError)


def test_a_revocation_deletes_a_look_alike_of_another_type_without_a_label(
    world: EmbeddedCluster,
) -> None:
    anchor_of(world.cluster)
    look_alike = f"bot-daypass-anchor-{'0' * 20}"
    metadata = {"name": look_alike, "namespace": "team"}
    world.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    is_accepted = bound_token(world, look_alike)
    assert look_alike in {each.name for each in revoke(world.cluster, BOT).deleted}
    world.clock.advance(11)
    assert not is_accepted()


def test_a_long_lived_token_in_a_secret_with_the_name_of_an_anchor_is_reported(
    world: EmbeddedCluster,
) -> None:
    anchor_of(world.cluster)
    disguised = f"bot-daypass-anchor-{'0' * 20}"
    world.cluster.create(token_secret("team", "bot", disguised))
    assert [each.code for each in health(world).findings] == ["several-tokens"]
    shown = {each["secret"]: each["anchor"] for each in json_document(health(world))["tokens"]}
    assert shown[disguised] is False
    assert disguised in {each.name for each in revoke(world.cluster, BOT).deleted}


def test_a_rotation_makes_a_new_anchor_and_ends_the_old_one_after_the_overlap(
    world: EmbeddedCluster,
) -> None:
    old = anchor_of(world.cluster)
    is_accepted = bound_token(world, old)
    files: list[bytes] = []
    rotated = rotate_one(world.cluster, BOT, files.append, overlap_seconds=DAY)
    document = json.loads(files[0])
    assert document["secretName"] == rotated.secret_name != old
    assert document["token"] == {"github": {"audience": ISSUER}}
    assert bound_token(world, rotated.secret_name)()
    assert is_accepted()
    world.clock.advance(DAY)
    assert [each.name for each in reap(world.cluster, "team", warn=silent).deleted] == [old]
    world.clock.advance(11)
    assert not is_accepted()
    again = renew(world.cluster, overlap_seconds=0)
    assert [each.name for each in own_secrets(world.cluster)] == [again.secret_name]
    assert anchor_of(world.cluster) == again.secret_name


def test_anchors_stay_when_all_tokens_are_rotated(world: EmbeddedCluster) -> None:
    token, anchor = make(world.cluster).secret_name, anchor_of(world.cluster)
    rotations = find_rotations(world.cluster, None)
    rotate(world.cluster, rotations, deliver=lambda name, content: None, overlap_seconds=0)
    left = {each.name for each in own_secrets(world.cluster)}
    assert left == {anchor, rotations[0].secret_name}
    assert token not in left


@pytest.mark.parametrize(
    "source", ["", "exec:rm", "github:", "file:" + "x" * 5000, "{}", "variable:A=B"]
)
def test_an_anchor_with_a_changed_source_is_not_rotated(
    world: EmbeddedCluster, source: str
) -> None:
    anchor = anchor_of(world.cluster)
    change = {"metadata": {"annotations": {labels.SOURCE: source}}}
    world.cluster.patch(SECRETS, anchor, change, "team")
    with raises(UsageError, match=f"(?s)source.*{labels.SOURCE}"):
        renew(world.cluster)
    assert [each.name for each in own_secrets(world.cluster)] == [anchor]
    assert anchor_of(world.cluster) == anchor
    assert renew(world.cluster).error is None


def test_an_expired_identity_loses_its_anchor_and_its_users(world: EmbeddedCluster) -> None:
    is_accepted = bound_token(world, anchor_of(world.cluster))
    change = {"metadata": {"annotations": {labels.DEADLINE: "2027-01-15T08:00:01Z"}}}
    world.cluster.patch(SERVICE_ACCOUNTS, "bot", change, "team")
    world.clock.advance(2)
    assert reap(world.cluster, None, warn=silent).expired == ["team/bot"]
    world.clock.advance(11)
    assert not is_accepted()
    assert world.cluster.list(ROLE_BINDINGS, "team", labels=labels.SELECTOR) == []


def test_the_last_use_of_an_anchor_is_unknown_and_no_finding(world: EmbeddedCluster) -> None:
    anchor = anchor_of(world.cluster)
    world.clock.advance(2 * DAY)
    examined = health(world)
    assert examined.findings == ()
    (row,) = table_rows([examined], world.clock)
    assert row["LAST USED"] == "unknown"
    (shown,) = json_document(examined)["tokens"]
    assert (shown["secret"], shown["anchor"], shown["lastUsed"]) == (anchor, True, None)


def test_an_identity_that_also_has_a_token_is_reported_until_a_rotation_leaves_one(
    world: EmbeddedCluster,
) -> None:
    make(world.cluster)
    world.clock.advance(1)
    anchor = anchor_of(world.cluster)
    assert [each.code for each in health(world).findings] == ["several-tokens"]
    warnings = Warnings()
    assert make(world.cluster).is_new is False
    rotated = renew(world.cluster, overlap_seconds=0)
    assert rotated.secret_name.startswith("bot-daypass-anchor-")
    assert anchor not in {each.name for each in own_secrets(world.cluster)}
    assert len(own_secrets(world.cluster)) == 1
    assert warnings == []
