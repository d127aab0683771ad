"""The ConfigMap of denials by hand, as `daypass gate deny` writes it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from daypass._core.errors import DaypassError, UsageError
from daypass._core.kubernetes.objects import Object
from daypass.gate.deny import TooManyDenialsError, change_denial
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import CONFIG_MAPS, Resource
from daypass.render.names import GATE_DENIED
from daypass.rules.published import LIMIT_DENIALS, Denial, DeniedKind
from support.embedded import EmbeddedCluster
from support.messages import raises

HOUR, DAY = 3600, 86_400
UID = "0b2c8d0e-5d0f-4d8e-9b1a-6a52f1c0a0c4"


@pytest.fixture
def embedded() -> EmbeddedCluster:
    return EmbeddedCluster()


def denial(embedded: EmbeddedCluster, name: str, **changes: object) -> Denial:
    kind = DeniedKind(str(changes.pop("kind", "jti")))
    until_unix = embedded.clock.unix() + float(str(changes.pop("seconds", HOUR)))
    return Denial(kind=kind, name=name, until_unix=until_unix)


def deny(embedded: EmbeddedCluster, name: str, **changes: object) -> None:
    undo = bool(changes.pop("undo", False))
    change_denial(embedded.cluster, "daypass", denial(embedded, name, **changes), undo=undo)


def written(cluster: Cluster) -> Mapping[str, str]:
    found = cluster.find(CONFIG_MAPS, GATE_DENIED, "daypass")
    return {} if found is None else found.get("data") or {}


def test_denials_of_every_kind_are_added_and_removed_one_by_one(embedded: EmbeddedCluster) -> None:
    for kind, name in ("jti", "a"), ("uid", UID), ("namespace", "a"):
        deny(embedded, name, kind=kind)
    assert written(embedded.cluster) == dict.fromkeys(
        ("jti.a", f"uid.{UID}", "namespace.a"), denial(embedded, "a").until
    )
    deny(embedded, UID, kind="uid", undo=True)
    assert set(written(embedded.cluster)) == {"jti.a", "namespace.a"}


def test_what_expired_a_day_ago_is_removed_by_the_next_write(embedded: EmbeddedCluster) -> None:
    deny(embedded, "old")
    embedded.clock.advance(HOUR + DAY - 1)
    deny(embedded, "young")
    assert set(written(embedded.cluster)) == {"jti.old", "jti.young"}
    embedded.clock.advance(1)
    deny(embedded, "young", undo=True)
    assert written(embedded.cluster) == {}


def test_no_denial_closes_the_gate_by_being_one_too_many(embedded: EmbeddedCluster) -> None:
    deny(embedded, "expired", seconds=1)
    until = denial(embedded, "x").until
    data = {f"jti.{number}": until for number in range(LIMIT_DENIALS)}
    embedded.cluster.patch(CONFIG_MAPS, GATE_DENIED, {"data": data}, "daypass")
    embedded.clock.advance(2)
    with raises(TooManyDenialsError, match=str(LIMIT_DENIALS)):
        deny(embedded, "one-too-many")
    deny(embedded, "7", seconds=DAY)  # one that is there already
    deny(embedded, "8", undo=True)
    deny(embedded, "one-too-many")


@pytest.mark.parametrize(("kind", "name"), [("jti", "a b"), ("uid", UID[:-1]), ("namespace", "A")])
def test_an_invalid_name_is_a_usage_error(embedded: EmbeddedCluster, kind: str, name: str) -> None:
    with raises(UsageError, match=repr(name[:40])):
        deny(embedded, name, kind=kind)
    assert written(embedded.cluster) == {}


def test_what_is_not_denied_is_not_removed(embedded: EmbeddedCluster) -> None:
    for _ in range(2):
        with raises(DaypassError, match="jti b"):
            deny(embedded, "b", undo=True)
        deny(embedded, "a")
    deny(embedded, "a", undo=True)
    with raises(DaypassError, match="jti a"):
        deny(embedded, "a", undo=True)


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
    embedded: EmbeddedCluster,
) -> None:
    deny(embedded, "before")
    cluster = embedded.open()
    overtaken = Overtaken(
        cluster.connection, transport=embedded.transport, clock=embedded.clock, sleep=embedded.sleep
    )
    change_denial(overtaken, "daypass", denial(embedded, "mine"), undo=False)
    assert set(written(embedded.cluster)) == {"jti.before", "jti.0", "jti.mine"}
    overtaken.times = 9
    with raises(ConflictError):
        change_denial(overtaken, "daypass", denial(embedded, "mine"), undo=False)
