"""The ConfigMap of denials by hand, as `daypass gate deny` writes it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from daypass._core.errors import UsageError
from daypass._core.objects import Object
from daypass.gate.denials import TooManyDenialsError, change_denial
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.resources import CONFIG_MAPS, Resource
from daypass.render.objects import GATE_DENIED
from daypass.rules.denials import LIMIT, Denial, DeniedKind
from support.embedded import EmbeddedCluster
from support.lifecycle import dry_run
from support.messages import raises

HOUR, DAY = 3600, 86_400


@pytest.fixture
def world() -> EmbeddedCluster:
    return EmbeddedCluster()


def denial(world: EmbeddedCluster, name: str, **changes: object) -> Denial:
    kind = DeniedKind(str(changes.pop("kind", "jti")))
    until_unix = world.clock.unix() + float(str(changes.pop("seconds", HOUR)))
    return Denial(kind=kind, name=name, until_unix=until_unix)


def deny(world: EmbeddedCluster, name: str, **changes: object) -> None:
    undo = bool(changes.pop("undo", False))
    change_denial(world.cluster, "daypass", denial(world, name, **changes), undo=undo)


def written(cluster: Cluster) -> Mapping[str, str]:
    found = cluster.find(CONFIG_MAPS, GATE_DENIED, "daypass")
    return {} if found is None else found.get("data") or {}


def test_denials_of_every_kind_are_added_and_removed_one_by_one(world: EmbeddedCluster) -> None:
    for kind in DeniedKind:
        deny(world, "a", kind=kind)
    assert written(world.cluster) == dict.fromkeys(
        ("jti.a", "uid.a", "namespace.a"), denial(world, "a").until
    )
    deny(world, "a", kind="uid", undo=True)
    assert set(written(world.cluster)) == {"jti.a", "namespace.a"}


def test_what_expired_a_day_ago_is_removed_by_the_next_write(world: EmbeddedCluster) -> None:
    deny(world, "old")
    world.clock.advance(HOUR + DAY - 1)
    deny(world, "young")
    assert set(written(world.cluster)) == {"jti.old", "jti.young"}
    world.clock.advance(1)
    deny(world, "young", undo=True)
    assert written(world.cluster) == {}


def test_no_denial_closes_the_gate_by_being_one_too_many(world: EmbeddedCluster) -> None:
    deny(world, "expired", seconds=1)
    until = denial(world, "x").until
    data = {f"jti.{number}": until for number in range(LIMIT)}
    world.cluster.patch(CONFIG_MAPS, GATE_DENIED, {"data": data}, "daypass")
    world.clock.advance(2)
    with raises(TooManyDenialsError, match=str(LIMIT)):
        deny(world, "one-too-many")
    deny(world, "7", seconds=DAY)  # one that is there already
    deny(world, "8", undo=True)
    deny(world, "one-too-many")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("jti", "a b"), ("uid", ""), ("uid", "x" * 201), ("namespace", "a.b"), ("namespace", "A")],
)
def test_an_invalid_name_is_a_usage_error(world: EmbeddedCluster, kind: str, name: str) -> None:
    with raises(UsageError, match=repr(name[:40])):
        deny(world, name, kind=kind)
    assert written(world.cluster) == {}


def test_a_denial_is_removed_only_where_there_are_some(world: EmbeddedCluster) -> None:
    with raises(NotFoundError, match=GATE_DENIED):
        deny(world, "a", undo=True)


def test_a_dry_run_creates_neither_namespace_nor_denial(world: EmbeddedCluster) -> None:
    with dry_run(world.cluster) as cluster:
        change_denial(cluster, "daypass", denial(world, "a"), undo=False)
    with raises(NotFoundError):
        world.cluster.request("GET", "/api/v1/namespaces/daypass", what="look")


class Overtaken(Cluster):
    """Somebody else writes first, `times` times."""

    times = 1

    def patch(
        self, resource: Resource, name: str, change: Object, namespace: str | None = None
    ) -> Object:
        if self.times:
            self.times -= 1
            until = change["data"]["jti.mine"]
            super().patch(resource, name, {"data": {f"jti.{self.times}": until}}, namespace)
        return super().patch(resource, name, change, namespace)


def test_a_write_that_another_one_overtakes_is_repeated_on_what_is_there(
    world: EmbeddedCluster,
) -> None:
    deny(world, "before")
    cluster = world.open()
    overtaken = Overtaken(
        cluster.connection, transport=world.transport, clock=world.clock, sleep=world.sleep
    )
    change_denial(overtaken, "daypass", denial(world, "mine"), undo=False)
    assert set(written(world.cluster)) == {"jti.before", "jti.0", "jti.mine"}
    overtaken.times = 9
    with raises(ConflictError):
        change_denial(overtaken, "daypass", denial(world, "mine"), undo=False)
