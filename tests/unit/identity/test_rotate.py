"""Rotation: which tokens work, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daypass._core.errors import DaypassError
from daypass._core.kubernetes import labels
from daypass.identity.accounts import InactiveIdentityError, get_identity
from daypass.identity.create import IdentitySpec, create
from daypass.identity.credentials_file import (
    CredentialsOptions,
    IncompleteCredentialsError,
    resolve_settings,
)
from daypass.identity.delete import revoke
from daypass.identity.rotate import find_rotations
from daypass.kube.resources import SERVICE_ACCOUNTS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    DISGUISES,
    GATE,
    SETTINGS,
    Warnings,
    accepts,
    disguise,
    make,
    own_secrets,
    renew,
    token_in,
)
from support.messages import check, raises

DAY = 86_400


def test_a_rotation_that_cannot_deliver_ends_no_token_and_is_resumed(
    embedded: EmbeddedCluster,
) -> None:
    old = make(embedded.cluster)
    seen: list[bool] = []

    def hand_over(content: bytes) -> None:
        seen.extend(
            (accepts(embedded.cluster, old.token), accepts(embedded.cluster, token_in(content)))
        )
        raise DaypassError("the disk is full")

    account = get_identity(embedded.cluster, BOT)
    for _ in range(3):
        with pytest.raises(DaypassError, match="the disk is full"):
            renew(embedded.cluster, BOT, hand_over, overlap_seconds=0)
    assert all(seen)
    assert len(own_secrets(embedded.cluster)) == 2  # the old one, and one new one for all three
    assert accepts(embedded.cluster, old.token)
    warnings = Warnings()
    spec = IdentitySpec(name=BOT, credentials=SETTINGS)
    created = create(embedded.cluster, account, spec, warn=warnings)
    assert warnings[0].endswith("daypass identity rotate bot -n team")
    check(warnings[0], reason="warning")
    assert renew(embedded.cluster, overlap_seconds=0).secret_name == created.secret.name
    assert len(own_secrets(embedded.cluster)) == 1


@pytest.mark.parametrize("kind", DISGUISES)
def test_a_disguised_secret_is_rotated_out(embedded: EmbeddedCluster, kind: str) -> None:
    old = make(embedded.cluster)
    disguise(embedded.cluster, kind, BOT, old.secret.name)
    renew(embedded.cluster, overlap_seconds=0)
    embedded.clock.advance(11)
    assert not accepts(embedded.cluster, old.token)
    assert len(own_secrets(embedded.cluster)) == 1


def test_a_revoked_or_expired_identity_is_not_rotated(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster, deadline="2027-02-01T00:00:00Z")
    revoke(embedded.cluster, BOT)
    with raises(InactiveIdentityError, match=r"(?s)team/bot.*daypass identity create bot -n team$"):
        renew(embedded.cluster)
    make(embedded.cluster)
    embedded.clock.advance(60 * DAY)
    with raises(InactiveIdentityError, match="2027-02-01T00:00:00Z"):
        renew(embedded.cluster)
    assert find_rotations(embedded.cluster, None) == []
    assert len(own_secrets(embedded.cluster)) == 1


def test_only_identities_with_old_tokens_are_rotated(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster)
    embedded.clock.advance(90 * DAY)
    make(embedded.cluster, replace(BOT, name="young"))

    def found(older_than_seconds: int) -> list[str]:
        members = find_rotations(embedded.cluster, None, older_than_seconds=older_than_seconds)
        return [member.name.name for member in members]

    assert found(0) == ["bot", "young"]
    assert found(90 * DAY) == ["bot"]
    assert found(91 * DAY) == []
    renew(embedded.cluster)
    assert found(DAY) == []


UNFIT: dict[str, tuple[str, str | None]] = {
    "an authority that is none": (labels.AUTHORITY, "-----BEGIN CERTIFICATE-----"),
    "no door": (labels.DOOR, None),
    "a door that steers the terminal": (labels.DOOR, "https://x\x1b]0;\x07\ny"),
    "a door in the clear": (labels.DOOR, "http://example.com/kubernetes"),
    "an audience of several lines": (labels.AUDIENCE, "a\nb"),
    "a lifetime of many digits": (labels.LIFETIME, "9" * 5000),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_an_identity_with_invalid_annotations_is_not_rotated(
    embedded: EmbeddedCluster, unfit: str
) -> None:
    make(embedded.cluster)
    mark, value = UNFIT[unfit]
    change = {"metadata": {"annotations": {mark: value}}}
    embedded.cluster.patch(SERVICE_ACCOUNTS, "bot", change, "team")
    with raises(IncompleteCredentialsError, match="team/bot"):
        renew(embedded.cluster)
    assert len(own_secrets(embedded.cluster)) == 1
    if mark == labels.LIFETIME:
        with raises(IncompleteCredentialsError):
            account = get_identity(embedded.cluster, BOT)
            resolve_settings(CredentialsOptions(audience=GATE), None, account)
