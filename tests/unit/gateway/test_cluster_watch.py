"""Several watches and people who publish, turn by turn, with a clock of the test's own."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from daypass.gateway.cluster_watch import ClusterWatch
from daypass.gateway.denials import SETTLE_SECONDS, Kind
from daypass.gateway.events import Event
from daypass.gateway.follower import Follower
from daypass.gateway.following import Following, Scope
from daypass.gateway.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS, Lease
from daypass.gateway.native import publisher_of
from daypass.gateway.publish_now import Ended, publish_now
from daypass.gateway.record import ClusterRecord
from daypass.render.names import GATE_KEYS
from daypass.render.policy.marks import ENFORCED, LABEL
from support.deadline import eventually
from support.messages import check
from support.objects_api import ObjectsApi
from support.timing import FakeClock
from support.tokens import Signer
from support.watched_api import WatchedApi, cluster_of
from support.watching import watched_config

CONFIG = watched_config(closeAfter="600s")
FRONT = "/apis/networking.istio.io/v1alpha3/namespaces/istio-system/envoyfilters/"


class World:
    """What is there (`seen`), what is published (`objects`), and watches by name."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.seen, self.objects = WatchedApi(), ObjectsApi()
        self.seen.put("namespaces", "team", name="team", namespace="", labels={LABEL: ENFORCED})
        self.seen.put("secrets", "s-1")
        self.seen.put("secrets", "s-2")
        self.keys = "issuer\n" + Signer("one").jwks
        self.told: list[tuple[str, Event]] = []
        self.watches: list[ClusterWatch] = []

    def watch(self, name: str) -> ClusterWatch:
        gate = CONFIG.gate
        assert gate is not None
        cluster = self.objects.cluster(self.clock)
        watch = ClusterWatch(
            following=Following(
                cluster_of(self.seen), self.clock, Scope(orders_namespace="daypass",
                each_namespace=True), longest_lifetime_seconds=7200, close_after_seconds=600,
            ),
            record=ClusterRecord(cluster, "daypass"),
            publisher=publisher_of(cluster, CONFIG, gate),
            lease=Lease(cluster, self.clock, namespace="daypass", name="watch", me=name),
            keys=Follower(lambda: self.keys, 3600),
            clock=self.clock,
            tell=lambda event, **fields: self.told.append((name, event)),
            config=CONFIG,
            close_after_seconds=600,
        )  # fmt: skip
        self.watches.append(watch)
        watch.following.start()
        eventually("it has seen all", lambda: watch.following.is_settled)
        return watch

    def turn(self, watch: ClusterWatch) -> bool:
        assert watch.keys is not None
        watch.keys.fetch()
        watch.lease.attempt()
        return watch.turn()

    def hears(self, watch: ClusterWatch) -> None:
        """Come back once every feed has heard something at the present time."""
        now = self.clock.monotonic()
        eventually(
            "it hears",
            lambda: all((f.heard_at or 0) >= now for f in watch.following.feeds),
            seconds=60,
        )

    def sees(self, watch: ClusterWatch, *uids: str) -> None:
        eventually("it is seen", lambda: watch.following.revoked().secrets >= set(uids), seconds=60)

    def published(self) -> str:
        return "".join(
            json.dumps(found) for path, found in self.objects.objects.items()
            if path.startswith(FRONT)
        )  # fmt: skip

    def issued_after(self) -> float:
        """Tokens that were issued before are refused."""
        return float(self.published().partition('"end": ')[2].partition("}")[0])

    def until(self) -> str:
        """From when on Envoy refuses everything."""
        return self.published().partition('"string_value": "')[2].partition('"')[0]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for watch in made.watches:
        watch.following.stop()


def test_a_deletion_is_recorded_and_then_in_force(world: World) -> None:
    watch = world.watch("one")
    assert world.turn(watch)
    assert "s-1" not in world.published()
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    world.objects.written.clear()
    assert world.turn(watch)
    assert '"s-1"' in world.published()
    assert world.objects.written[:3] == ["watch", "daypass-gate-known", "daypass-gate-revoked-0"]


def test_another_one_publishes_nothing_until_it_has_the_lease_and_then_at_once(
    world: World,
) -> None:
    one, two = world.watch("one"), world.watch("two")
    world.turn(one)
    assert not world.turn(two)
    world.seen.delete("secrets", "s-1")
    world.sees(two, "s-1")
    assert not world.turn(two)
    assert "s-1" not in world.published()
    world.clock.advance(DURATION_SECONDS + 1)
    assert world.turn(two)
    assert '"s-1"' in world.published()


def test_who_lost_the_lease_stops_in_the_middle(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    # It holds the lease as it begins, and no more once it has written the record.
    world.objects.meanwhile.append(lambda: world.clock.advance(RENEW_WITHIN_SECONDS))
    assert not watch.turn()
    assert "s-1" not in world.published()


def test_what_a_successor_never_saw_is_known_from_the_record(world: World) -> None:
    one = world.watch("one")
    world.turn(one)
    world.seen.put("secrets", "s-3")
    world.seen.delete("secrets", "s-3")
    world.sees(one, "s-3")
    world.turn(one)
    one.following.stop()
    world.seen.delete("secrets", "s-1")  # while nobody looks
    world.seen.events.clear()
    two = world.watch("two")
    world.turn(two)
    world.clock.advance(DURATION_SECONDS + 1)
    world.turn(two)
    two_sees = world.published()
    assert all(f'"{uid}"' in two_sees for uid in ("s-1", "s-3"))
    assert '"s-2"' not in two_sees


def test_what_people_publish_meanwhile_is_not_lost(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    cluster = world.objects.cluster(world.clock)
    byhand = Ended(kind=Kind.SECRET, namespace="team", uid="by-hand")
    assert publish_now(cluster, "daypass", [byhand])
    assert '"by-hand"' in world.published()
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    assert world.turn(watch)
    assert all(f'"{uid}"' in world.published() for uid in ("by-hand", "s-1"))
    # And the other way round: between what the watch writes, and what it puts in force.
    world.seen.delete("secrets", "s-2")
    world.sees(watch, "s-2")
    second = Ended(kind=Kind.SECRET, namespace="team", uid="by-hand-too")
    world.objects.meanwhile.append(lambda: publish_now(cluster, "daypass", [second]))
    for _ in range(3):
        world.turn(watch)
    assert all(f'"{uid}"' in world.published() for uid in ("by-hand-too", "s-2"))


def test_what_counts_for_a_while_is_renewed_at_half_of_it_and_not_sooner(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    first = world.until()
    world.clock.advance(200)
    world.hears(watch)
    world.turn(watch)
    assert world.until() == first
    world.clock.advance(110)
    world.hears(watch)
    world.turn(watch)
    assert world.until() > first


def test_who_hears_nothing_renews_nothing_and_says_closed_in_the_end(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    first = world.until()
    world.seen.fails = 0
    eventually("it sees that", lambda: watch.following.trouble)
    world.clock.advance(500)
    world.turn(watch)
    assert world.until() == first
    world.clock.advance(101)
    world.turn(watch)
    assert ("one", Event.CLOSED) in world.told
    world.seen.fails = None
    eventually("it hears again", lambda: not watch.following.is_closed, seconds=60)
    eventually("it opens", lambda: world.turn(watch) and world.until() > first, seconds=60)


def test_two_keys_are_published_and_then_one(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    first, second = (json.loads(Signer(name).jwks)["keys"] for name in ("a", "b"))
    for keys in (first, [*first, *second], second):
        world.keys = "issuer\n" + json.dumps({"keys": keys})
        world.turn(watch)
        found = json.dumps(world.objects.objects[f"{FRONT}{GATE_KEYS}"])
        for each in [*first, *second]:
            assert (each["n"] in found) is (each in keys)


def test_what_cannot_be_published_is_told_and_done_later(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    world.objects.fails = True
    assert not world.turn(watch)
    assert watch.errors == 1
    check(watch.trouble, reason=Event.NOT_PUBLISHED)
    assert ("one", Event.NOT_PUBLISHED) in world.told
    world.objects.fails = False
    assert world.turn(watch)
    assert '"s-1"' in world.published()
    assert watch.trouble == ""


def test_an_entry_ends_when_the_longest_lifetime_has_passed(world: World) -> None:
    watch = world.watch("one")
    world.turn(watch)
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    world.turn(watch)
    for _ in range(3):
        world.clock.advance(1800)
        world.hears(watch)
        world.turn(watch)
        assert '"s-1"' in world.published()
    world.clock.advance(2000)
    world.hears(watch)
    eventually(
        "it has ended", lambda: world.turn(watch) and '"s-1"' not in world.published(), seconds=60
    )


def test_what_is_fresh_goes_out_alone_however_long_the_list_is(world: World) -> None:
    watch = world.watch("one")
    for number in range(600):
        watch.following.denials.gone(Kind.SECRET, f"before-{number}", "team", world.clock.unix())
    world.turn(watch)
    for seconds in (60, 60):
        world.clock.advance(seconds)
        world.hears(watch)
        world.turn(watch)
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    world.objects.written.clear()
    assert world.turn(watch)
    assert world.objects.written[:3] == ["watch", "daypass-gate-known", "daypass-gate-revoked-0"]
    assert _parts_written(world) == ["daypass-gate-revoked-0"]
    first = json.dumps(world.objects.objects[f"{FRONT}daypass-gate-revoked-0"])
    assert '"s-1"' in first
    assert '"before-' not in first
    assert world.published().count('"before-') == 600


def test_whoever_publishes_next_leaves_alone_what_is_right(world: World) -> None:
    one, two = world.watch("one"), world.watch("two")
    world.turn(one)
    assert _parts_written(world) == [f"daypass-gate-revoked-{number}" for number in range(4)]
    world.turn(two)
    world.clock.advance(DURATION_SECONDS + 1)
    world.hears(two)
    assert world.turn(two)
    assert _parts_written(world) == ["daypass-gate-revoked-0"]
    cluster = world.objects.cluster(world.clock)
    assert publish_now(cluster, "daypass", [Ended(kind=Kind.SECRET, namespace="team", uid="x")])
    assert _parts_written(world) == ["daypass-gate-revoked-0"]


def test_an_entry_whose_copy_was_recorded_and_not_published_stays_where_it_is(
    world: World,
) -> None:
    watch = world.watch("one")
    world.turn(watch)
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    world.turn(watch)
    _pass(world, watch, SETTLE_SECONDS)
    watch.lease.attempt()
    # The copy is due. The lease ends once it is recorded, and is there again at the next turn.
    world.objects.meanwhile.append(lambda: world.clock.advance(RENEW_WITHIN_SECONDS))
    assert not watch.turn()
    _pass(world, watch, SETTLE_SECONDS)
    assert world.turn(watch)
    assert _parts_with(world, "s-1") > {"daypass-gate-revoked-0"}
    _pass(world, watch, SETTLE_SECONDS)
    assert world.turn(watch)
    assert "daypass-gate-revoked-0" not in _parts_with(world, "s-1") != set()


def test_whoever_takes_over_keeps_a_copy_until_its_own_has_arrived(world: World) -> None:
    one = world.watch("one")
    world.turn(one)
    world.seen.delete("secrets", "s-1")
    world.sees(one, "s-1")
    world.turn(one)
    two = world.watch("two")
    _pass(world, one, SETTLE_SECONDS)
    world.turn(one)
    copied = _parts_with(world, "s-1")
    assert len(copied) == 2
    assert not world.turn(two)
    _pass(world, two, SETTLE_SECONDS - 1)
    assert world.turn(two)
    _pass(world, two, 1)
    assert world.turn(two)
    assert _parts_with(world, "s-1") == copied
    _pass(world, two, SETTLE_SECONDS)
    assert world.turn(two)
    assert _parts_with(world, "s-1") == copied - {"daypass-gate-revoked-0"}


def test_a_first_watch_refuses_no_token_for_its_age(world: World) -> None:
    world.turn(world.watch("one"))
    assert world.issued_after() < world.clock.unix() - 7000
    assert ("one", Event.RECORD_LOST) not in world.told


HOME = "/api/v1/namespaces/daypass/configmaps/"


@pytest.mark.parametrize("lost", ["daypass-gate-known", "daypass-gate-known-", ""])
def test_a_watch_without_all_of_the_record_refuses_what_was_issued_before(
    world: World, lost: str
) -> None:
    """The record, the UIDs that were known, or both are deleted while no watch runs."""
    one = world.watch("one")
    world.turn(one)
    world.seen.delete("secrets", "s-1")
    world.sees(one, "s-1")
    world.clock.advance(2)
    world.turn(one)
    _pass(world, one, 301)
    world.turn(one)
    one.following.stop()
    for path in [*world.objects.objects]:
        is_part = path.startswith(f"{HOME}daypass-gate-known-")
        if path.startswith(HOME) and (not lost or is_part is lost.endswith("-")):
            del world.objects.objects[path]
    world.clock.advance(DURATION_SECONDS + 1)
    began = world.clock.unix()
    for name in ("two", "three"):
        watch = world.watch(name)
        world.turn(watch)
        world.clock.advance(DURATION_SECONDS + 1)
        world.hears(watch)
        if name == "two":  # until this second is over, what is issued now looks like what was
            assert not world.turn(watch)
            _pass(world, watch, 1)
        assert world.turn(watch)
        assert began < world.issued_after() <= world.clock.unix()
        watch.following.stop()
        world.clock.advance(DURATION_SECONDS + 1)
    assert [name for name, event in world.told if event is Event.RECORD_LOST] == ["two"]


@pytest.mark.parametrize("content", [b"junk", {"refused": {"format": 1}}], ids=["junk", "format"])
def test_after_a_damaged_record_is_deleted_what_was_issued_before_is_refused(
    world: World, content: Any
) -> None:
    one = world.watch("one")
    world.turn(one)
    one.following.stop()
    text = content if isinstance(content, bytes) else gzip.compress(json.dumps(content).encode())
    damaged = world.objects.objects[f"{HOME}daypass-gate-known"]
    damaged["binaryData"] = {"content.json.gz": base64.b64encode(text).decode()}
    world.clock.advance(DURATION_SECONDS + 1)
    two = world.watch("two")
    world.turn(two)
    world.clock.advance(DURATION_SECONDS + 1)
    world.hears(two)
    before = world.published()
    assert not world.turn(two)
    assert "kubectl delete configmap daypass-gate-known -n daypass" in two.trouble
    check(two.trouble, reason=Event.NOT_PUBLISHED)
    assert world.published() == before
    del world.objects.objects[f"{HOME}daypass-gate-known"]
    began = world.clock.unix()
    assert not world.turn(two)
    assert world.published() == before
    _pass(world, two, 1)
    assert world.turn(two)
    assert world.issued_after() > began


def test_a_watch_that_knows_writes_a_lost_record_anew_and_refuses_nobody_for_it(
    world: World,
) -> None:
    watch = world.watch("one")
    world.turn(watch)
    del world.objects.objects[f"{HOME}daypass-gate-known"]
    world.seen.delete("secrets", "s-1")
    world.sees(watch, "s-1")
    eventually("it is published", lambda: world.turn(watch) and '"s-1"' in world.published())
    assert world.issued_after() < world.clock.unix() - 7000
    assert ("one", Event.RECORD_LOST) not in world.told


def _pass(world: World, watch: ClusterWatch, seconds: float) -> None:
    world.clock.advance(seconds)
    world.hears(watch)


def _parts_with(world: World, uid: str) -> set[str]:
    """The parts of the list in which an entry stands."""
    return {
        path.removeprefix(FRONT) for path, found in world.objects.objects.items()
        if path.startswith(FRONT) and f'"{uid}"' in json.dumps(found)
    }  # fmt: skip


def _parts_written(world: World) -> list[str]:
    """Which parts of the list were written since this was asked last."""
    names = sorted(name for name in world.objects.written if "-revoked-" in name)
    world.objects.written.clear()
    return names
