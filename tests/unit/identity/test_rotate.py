"""Rotation: which tokens work, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass.identity.create import IdentitySpec, create
from daypass.identity.credentials_file import (
    CredentialsOptions,
    IncompleteCredentialsError,
    resolve_settings,
)
from daypass.identity.delete import revoke
from daypass.identity.model import IdentityName, InactiveIdentityError, get_identity
from daypass.identity.reap import reap
from daypass.identity.rotate import find_rotations, rotate
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    DISGUISES,
    GATE,
    SETTINGS,
    Warnings,
    accepts,
    disguise,
    exchange,
    make,
    own_secrets,
    renew,
    rotate_one,
    silent,
    token_in,
)
from support.messages import check, raises

DAY = 86_400


def states(world: EmbeddedCluster) -> list[bool]:
    """Whether each Secret is retired; live ones first."""
    return sorted(secret.retire_after is not None for secret in own_secrets(world.cluster))


def test_both_tokens_work_until_the_overlap_ends(world: EmbeddedCluster) -> None:
    old = make(world.cluster)
    rotated = renew(world.cluster, overlap_seconds=DAY)
    assert [secret.name for secret in rotated.retired] == [old.secret_name]
    assert rotated.credentials.door == SETTINGS.door
    assert accepts(world.cluster, old.token)
    world.clock.advance(DAY - 1)
    assert reap(world.cluster, None, warn=silent).deleted == []
    assert accepts(world.cluster, old.token)
    world.clock.advance(1)
    reaped = reap(world.cluster, "team", warn=silent)
    assert [each.name for each in reaped.deleted] == [old.secret_name]
    world.clock.advance(11)
    assert not accepts(world.cluster, old.token)
    assert [secret.name for secret in own_secrets(world.cluster)] == [rotated.secret_name]


def test_a_rotation_deletes_only_expired_secrets(world: EmbeddedCluster) -> None:
    first = make(world.cluster).secret_name
    renew(world.cluster, overlap_seconds=DAY)
    second = renew(world.cluster, overlap_seconds=DAY)
    assert second.deleted == []
    assert states(world) == [False, True, True]
    world.clock.advance(DAY)
    third = renew(world.cluster, overlap_seconds=DAY)
    assert first in [secret.name for secret in third.deleted]
    assert states(world) == [False, True]


def test_without_an_overlap_the_old_tokens_and_those_bound_to_them_end(
    world: EmbeddedCluster,
) -> None:
    old = make(world.cluster)
    renew(world.cluster, overlap_seconds=DAY)
    holder = world.as_holder_of(old.token)
    bound = exchange(holder, BOT, bound_to=old.secret_name)
    unbound = exchange(holder, BOT, bound_to=None)
    assert not isinstance(bound, DaypassError)
    assert not isinstance(unbound, DaypassError)
    new = renew(world.cluster, overlap_seconds=0)
    assert [secret.name for secret in own_secrets(world.cluster)] == [new.secret_name]
    world.clock.advance(11)
    assert not accepts(world.cluster, old.token)
    assert not accepts(world.cluster, bound, GATE)
    assert accepts(world.cluster, unbound, GATE)  # why the policy requires binding


def test_a_rotation_that_cannot_deliver_ends_no_token_and_is_resumed(
    world: EmbeddedCluster,
) -> None:
    old = make(world.cluster)
    seen: list[bool] = []

    def hand_over(content: bytes) -> None:
        seen.extend((accepts(world.cluster, old.token), accepts(world.cluster, token_in(content))))
        raise DaypassError("the disk is full")

    account = get_identity(world.cluster, BOT)
    for _ in range(3):
        with pytest.raises(DaypassError, match="the disk is full"):
            rotate_one(world.cluster, BOT, hand_over, overlap_seconds=0)
    assert all(seen)
    assert len(own_secrets(world.cluster)) == 2  # the old one, and one new one for all three
    assert accepts(world.cluster, old.token)
    warnings = Warnings()
    spec = IdentitySpec(name=BOT, credentials=SETTINGS)
    created = create(world.cluster, account, spec, warn=warnings)
    assert warnings[0].endswith("daypass identity rotate bot -n team")
    check(warnings[0], reason="warning")
    assert renew(world.cluster, overlap_seconds=0).secret_name == created.secret_name
    assert len(own_secrets(world.cluster)) == 1


@pytest.mark.parametrize("kind", DISGUISES)
def test_a_disguised_secret_is_rotated_out(world: EmbeddedCluster, kind: str) -> None:
    old = make(world.cluster)
    disguise(world.cluster, kind, BOT, old.secret_name)
    renew(world.cluster, overlap_seconds=0)
    world.clock.advance(11)
    assert not accepts(world.cluster, old.token)
    assert len(own_secrets(world.cluster)) == 1


def test_a_revoked_or_expired_identity_is_not_rotated(world: EmbeddedCluster) -> None:
    make(world.cluster, deadline="2027-02-01T00:00:00Z")
    revoke(world.cluster, BOT)
    with raises(
        InactiveIdentityError, match=r"(?s)team/bot.*daypass identity create bot -n team\n"
    ):
        renew(world.cluster)
    make(world.cluster)
    world.clock.advance(60 * DAY)
    with raises(InactiveIdentityError, match="2027-02-01T00:00:00Z"):
        renew(world.cluster)
    assert find_rotations(world.cluster, None) == []
    assert len(own_secrets(world.cluster)) == 1


def test_only_identities_with_old_tokens_are_rotated(world: EmbeddedCluster) -> None:
    make(world.cluster)
    world.clock.advance(90 * DAY)
    make(world.cluster, replace(BOT, name="young"))

    def found(older_than_seconds: int) -> list[str]:
        members = find_rotations(world.cluster, None, older_than_seconds=older_than_seconds)
        return [member.name.name for member in members]

    assert found(0) == ["bot", "young"]
    assert found(90 * DAY) == ["bot"]
    assert found(91 * DAY) == []
    renew(world.cluster)
    assert found(DAY) == []


def test_an_unfinished_rotation_is_continued_whatever_the_age_of_its_tokens(
    world: EmbeddedCluster,
) -> None:
    make(world.cluster)
    world.clock.advance(90 * DAY)

    def refuse(name: IdentityName, content: bytes) -> None:
        raise DaypassError("the disk is full")

    for _ in range(2):
        rotations = find_rotations(world.cluster, None, older_than_seconds=DAY)
        rotate(world.cluster, rotations, deliver=refuse)
        assert [str(each.error) for each in rotations] == ["the disk is full"]
        world.clock.advance(1)
    assert len(own_secrets(world.cluster)) == 2


def test_a_secret_deleted_during_the_rotation_is_no_failure(world: EmbeddedCluster) -> None:
    old = make(world.cluster)

    def hand_over(_: bytes) -> None:
        world.cluster.delete(SECRETS, old.secret_name, "team")

    rotate_one(world.cluster, BOT, hand_over)
    with raises(NotFoundError):
        world.cluster.get(SECRETS, old.secret_name, "team")


UNFIT: dict[str, tuple[str, str | None]] = {
    "no door": (labels.DOOR, None),
    "a door that steers the terminal": (labels.DOOR, "https://x\x1b]0;\x07\ny"),
    "a door in the clear": (labels.DOOR, "http://example.com/kubernetes"),
    "an audience of several lines": (labels.AUDIENCE, "a\nb"),
    "a lifetime that is none": (labels.LIFETIME, "\u00b2"),
    "a lifetime of many digits": (labels.LIFETIME, "9" * 5000),
    "a lifetime that is too short": (labels.LIFETIME, "1"),
    "an authority that is none": (labels.AUTHORITY, "-----BEGIN CERTIFICATE-----"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_an_identity_with_invalid_annotations_is_not_rotated(
    world: EmbeddedCluster, unfit: str
) -> None:
    make(world.cluster)
    mark, value = UNFIT[unfit]
    change = {"metadata": {"annotations": {mark: value}}}
    world.cluster.patch(SERVICE_ACCOUNTS, "bot", change, "team")
    with raises(IncompleteCredentialsError, match="team/bot"):
        renew(world.cluster)
    assert len(own_secrets(world.cluster)) == 1
    if mark == labels.LIFETIME:
        with raises(IncompleteCredentialsError):
            resolve_settings(
                CredentialsOptions(audience=GATE), None, None, get_identity(world.cluster, BOT)
            )
