"""Rotation: which tokens work, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass.cli import main
from daypass.identity.create import IdentitySpec, create
from daypass.identity.credentials_file import (
    CredentialsOptions,
    IncompleteCredentialsError,
    resolve_settings,
)
from daypass.identity.delete import revoke
from daypass.identity.model import InactiveIdentityError, get_identity
from daypass.identity.reap import reap
from daypass.identity.rotate import find_targets, rotate
from daypass.kube.cluster import Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    GATE,
    SETTINGS,
    Warnings,
    accepts,
    exchange,
    make,
    own_secrets,
    renew,
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
    assert rotated.retired == (old.secret_name,)
    assert rotated.door == SETTINGS.door
    assert accepts(world.cluster, old.token)
    world.clock.advance(DAY - 1)
    assert reap(world.cluster, None, warn=silent).deleted == []
    assert accepts(world.cluster, old.token)
    world.clock.advance(1)
    reaped = reap(world.cluster, "team", warn=silent)
    assert reaped.deleted == [f"secrets/{old.secret_name} in team"]
    world.clock.advance(11)
    assert not accepts(world.cluster, old.token)
    assert [secret.name for secret in own_secrets(world.cluster)] == [rotated.secret_name]


def test_a_rotation_deletes_only_expired_secrets(world: EmbeddedCluster) -> None:
    first = make(world.cluster).secret_name
    renew(world.cluster, overlap_seconds=DAY)
    second = renew(world.cluster, overlap_seconds=DAY)
    assert second.deleted == ()
    assert states(world) == [False, True, True]
    world.clock.advance(DAY)
    third = renew(world.cluster, overlap_seconds=DAY)
    assert first in third.deleted
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


def test_the_credentials_are_delivered_before_the_old_token_ends(world: EmbeddedCluster) -> None:
    old = make(world.cluster)
    seen: list[bool] = []

    def hand_over(content: bytes) -> None:
        seen.extend((accepts(world.cluster, old.token), accepts(world.cluster, token_in(content))))
        raise DaypassError("the disk is full")

    account = get_identity(world.cluster, BOT)
    for _ in range(3):
        secrets = own_secrets(world.cluster)
        with pytest.raises(DaypassError, match="the disk is full"):
            rotate(world.cluster, account, secrets, deliver=hand_over, overlap_seconds=0)
    assert all(seen)
    assert len(own_secrets(world.cluster)) == 2  # the old one, and one new one for all three
    assert accepts(world.cluster, old.token)


def test_create_warns_of_an_unfinished_rotation_which_can_be_resumed(
    world: EmbeddedCluster,
) -> None:
    make(world.cluster)
    account = get_identity(world.cluster, BOT)

    def crash(_: bytes) -> None:
        raise DaypassError("the disk is full")

    with pytest.raises(DaypassError, match="the disk is full"):
        rotate(world.cluster, account, own_secrets(world.cluster), deliver=crash)
    warnings = Warnings()
    spec = IdentitySpec(name=BOT, credentials=SETTINGS)
    created = create(world.cluster, account, spec, warn=warnings)
    assert warnings[0].endswith("daypass identity rotate bot -n team")
    check(warnings[0], reason="warning")
    assert renew(world.cluster, overlap_seconds=0).secret_name == created.secret_name
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
    assert find_targets(world.cluster, None) == []
    assert len(own_secrets(world.cluster)) == 1


def test_one_failed_rotation_does_not_stop_the_others(
    world: EmbeddedCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Cluster, "open", lambda *, namespace, **_: world.open(namespace))
    names = [replace(BOT, name=f"bot-{number}") for number in range(6)]
    for name in names:
        make(world.cluster, name)
    folder = tmp_path / "out"
    (folder / "team").mkdir(mode=0o700, parents=True)
    (folder / "team" / "bot-3.json").write_text("somebody else's")
    rotate_all = ("identity", "rotate", "--all", "-n", "team", "--output", "json", "--output-dir")
    assert main([*rotate_all, str(folder / "team" / "bot-3.json")]) == 2
    check(capsys.readouterr().err, reason="usage")
    assert [len(own_secrets(world.cluster, name)) for name in names] == [1] * 6

    assert main([*rotate_all, str(folder)]) == 1
    out, err = capsys.readouterr()
    assert "5 of 6" in err
    assert "bot-3.json" in err
    assert "\r" not in err  # no progress without a terminal
    check(err, reason="rotated")
    summary = {each["name"]: each for each in json.loads(out)}
    assert [name for name, each in summary.items() if each["error"]] == ["bot-3"]
    for name in names:
        file = folder / "team" / f"{name.name}.json"
        if name.name == "bot-3":
            assert file.read_text() == "somebody else's"
            assert len(own_secrets(world.cluster, name)) == 1
            continue
        assert file.stat().st_mode & 0o777 == 0o600
        assert summary[name.name]["credentials"] == str(file)
        holder = world.as_holder_of(token_in(file.read_bytes()))
        minted = exchange(holder, name, bound_to=summary[name.name]["secret"])
        assert not isinstance(minted, DaypassError)
        assert json.loads(file.read_text())["audience"] == GATE


def test_only_identities_with_old_tokens_are_rotated(world: EmbeddedCluster) -> None:
    make(world.cluster)
    world.clock.advance(90 * DAY)
    make(world.cluster, replace(BOT, name="young"))

    def found(older_than_seconds: int) -> list[str]:
        members = find_targets(world.cluster, None, older_than_seconds=older_than_seconds)
        return [member.account.name.name for member in members]

    assert found(0) == ["bot", "young"]
    assert found(90 * DAY) == ["bot"]
    assert found(91 * DAY) == []
    renew(world.cluster)
    assert found(DAY) == []


def test_a_secret_deleted_during_the_rotation_is_no_failure(world: EmbeddedCluster) -> None:
    old = make(world.cluster)
    account, secrets = get_identity(world.cluster, BOT), own_secrets(world.cluster)

    def hand_over(_: bytes) -> None:
        world.cluster.delete(SECRETS, old.secret_name, "team")

    rotate(world.cluster, account, secrets, deliver=hand_over, overlap_seconds=60)
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
