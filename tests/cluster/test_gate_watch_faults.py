"""`daypass gate watch` while its cluster fails: what it has published is right again, or closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.kube.resources import ENVOY_FILTERS
from daypass.rules.published import CLUSTER_SHARDS, Shard, shard_name, shard_of
from support.churn import churning
from support.clocks import WrongClock
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.watching import (
    FRONT,
    Watch,
    becomes_published,
    becomes_removed,
    identity_namespace,
    prepare,
    published_shards,
    watched_config,
)

CLOSE_AFTER_SECONDS = 20
SLACK_SECONDS = 3.0
"""For a process that is waited for, on a machine that is busy."""
HOURS = 3600
CONFIG = watched_config(closeAfter=f"{CLOSE_AFTER_SECONDS}s")


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, CONFIG)


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    return identity_namespace(plane)


def shards(plane: ControlPlane) -> list[Shard]:
    with admin_cluster(plane) as cluster:
        found = published_shards(cluster)
    return [found[number] for number in range(CLUSTER_SHARDS)]


def in_force(plane: ControlPlane) -> set[str]:
    """The UIDs of the shards that are open."""
    now = SYSTEM_CLOCK.unix()
    return {uid for shard in shards(plane) if now < shard.closes_unix for uid in shard.uids}


def at_istio(plane: ControlPlane, uid: str) -> bool:
    """Whether the gateway gets a UID."""
    with admin_cluster(plane) as cluster:
        name = shard_name(shard_of(uid, CLUSTER_SHARDS))
        return uid in str(cluster.get(ENVOY_FILTERS, name, FRONT)["spec"])


def is_open(plane: ControlPlane) -> bool:
    return all(SYSTEM_CLOCK.unix() < shard.closes_unix for shard in shards(plane))


def test_after_a_restore_of_etcd_what_exists_is_published_again_and_nothing_else(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    early, revived, other = (
        plane.make_identity(namespace, name) for name in ("early", "revived", "other")
    )
    with Watch(tmp_path / "watch", plane, CONFIG) as watch:
        watch.wait_leading()
        becomes_published(plane, early.secret_uid, revived.secret_uid, other.secret_uid)
        saved = plane.save()
        late = plane.make_identity(namespace, "late")
        becomes_published(plane, late.secret_uid)
        plane.admin.delete(revived.secret_path)
        becomes_removed(plane, revived.secret_uid)
        for _ in range(100):  # the revision of the watch is far ahead of that of the snapshot
            plane.make_namespace()
        plane.restore(saved)
        expected = {early.secret_uid, revived.secret_uid, other.secret_uid}
        eventually(
            "what exists is published", lambda: expected <= in_force(plane) and is_open(plane),
            seconds=CLOSE_AFTER_SECONDS + SLACK_SECONDS,
        )  # fmt: skip
        assert late.secret_uid not in in_force(plane)
        assert not at_istio(plane, late.secret_uid)
        plane.admin.delete(early.secret_path)
        becomes_removed(plane, early.secret_uid)
        assert not at_istio(plane, early.secret_uid)
        # What the snapshot had may have held until now, and each shard is renewed in its own time.
        eventually("the other one is in force", lambda: other.secret_uid in in_force(plane))


@pytest.mark.parametrize("wrong_seconds", [3 * HOURS, -3 * HOURS], ids=["ahead", "behind"])
def test_what_was_published_by_a_wrong_clock_is_replaced_once_it_is_corrected(
    plane: ControlPlane, namespace: str, tmp_path: Path, wrong_seconds: float
) -> None:
    """A clock that is ahead makes nothing valid for longer: the API server's counts then."""
    one, other = (plane.make_identity(namespace, name) for name in ("one", "other"))
    clock = WrongClock(tmp_path)
    clock.set(wrong_seconds)
    with Watch(tmp_path / "watch", plane, CONFIG, clock.program) as watch:
        watch.wait_leading()
        becomes_published(plane, one.secret_uid, other.secret_uid)
        eventually("all is published", lambda: is_off(plane, min(wrong_seconds, 0)))
        plane.admin.delete(one.secret_path)
        becomes_removed(plane, one.secret_uid)
        clock.set(0)
        eventually(
            "the time is right", lambda: is_open(plane) and is_off(plane, 0),
            seconds=CLOSE_AFTER_SECONDS,
        )  # fmt: skip
        assert one.secret_uid not in in_force(plane)
        assert other.secret_uid in in_force(plane)


def is_off(plane: ControlPlane, seconds: float) -> bool:
    """Whether the closing times are those of a clock that is so far ahead."""
    latest = SYSTEM_CLOCK.unix() + seconds + CLOSE_AFTER_SECONDS
    return all(
        latest - CLOSE_AFTER_SECONDS <= shard.closes_unix <= latest + 1 for shard in shards(plane)
    )


@pytest.mark.weekly
def test_churn_in_another_namespace_does_not_delay_what_is_removed(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    elsewhere = identity_namespace(plane)
    bots = [plane.make_identity(namespace, f"bot-{number}") for number in range(25)]
    took = []
    with Watch(tmp_path / "watch", plane, CONFIG) as watch:
        watch.wait_leading()
        becomes_published(plane, *(bot.secret_uid for bot in bots))
        with churning(plane, elsewhere):
            for bot in bots:
                began = SYSTEM_CLOCK.monotonic()
                plane.admin.delete(bot.secret_path)
                becomes_removed(plane, bot.secret_uid)
                took.append(SYSTEM_CLOCK.monotonic() - began)
    assert max(took) <= 1.5, sorted(took)
