"""Several controllers and commands that publish, step by step, with a fake clock."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from daypass.gate.revocation.controller import RevocationController, WatchEvent
from daypass.gate.revocation.publish_once import DeletedObject, publish_once
from daypass.gate.revocation.publishers import publisher_of
from daypass.gate.revocation.revocation_list import COMPACT_SECONDS, ObjectKind
from daypass.gate.revocation.state_store import StateStore
from daypass.gate.revocation.watcher import RevocationWatcher, Scope

from daypass._core.labels import POLICY, POLICY_ENFORCED
from daypass._core.poller import Poller
from daypass.gate.signing_keys import SigningKeys
from daypass.kube.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS, Lease
from daypass.render.objects import GATE_KEYS
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
    """The cluster that is watched (`seen`), published objects, and controllers by name."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.seen, self.objects = WatchedApi(), ObjectsApi()
        self.seen.put(
            "namespaces", "team", name="team", namespace="", labels={POLICY: POLICY_ENFORCED}
        )
        self.seen.put("secrets", "s-1")
        self.seen.put("secrets", "s-2")
        self.keys = SigningKeys(issuer="issuer", key_set=Signer("one").jwks)
        self.events: list[tuple[str, WatchEvent]] = []
        self.watches: list[RevocationController] = []

    def watch(self, name: str) -> RevocationController:
        gate = CONFIG.gate
        assert gate is not None
        cluster = self.objects.cluster(self.clock)
        watch = RevocationController(
            watcher=RevocationWatcher(
                cluster_of(self.seen), self.clock, Scope(denials_namespace="daypass",
                each_namespace=True), longest_lifetime_seconds=7200, close_after_seconds=600,
            ),
            store=StateStore(cluster, "daypass"),
            publisher=publisher_of(cluster, CONFIG, gate),
            lease=Lease(cluster, self.clock, namespace="daypass", name="watch", me=name),
            keys=Poller(lambda: self.keys, 3600),
            clock=self.clock,
            log=lambda event, **fields: self.events.append((name, event)),
            config=CONFIG,
            close_after_seconds=600,
        )  # fmt: skip
        self.watches.append(watch)
        watch.watcher.start()
        eventually("all objects are seen", lambda: watch.watcher.is_settled)
        return watch

    def turn(self, watch: RevocationController) -> bool:
        assert watch.keys is not None
        watch.keys.fetch()
        renew_lease(watch)
        return watch.reconcile()

    def turn_after(self, watch: RevocationController, seconds: float) -> bool:
        """A turn at a later time, once every watch has had an event at that time."""
        self.advance(watch, seconds)
        return self.turn(watch)

    def advance(self, watch: RevocationController, seconds: float) -> None:
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        eventually(
            "events arrive", lambda: all((f.heard_at or 0) >= now for f in watch.watcher.informers)
        )

    def delete(self, watch: RevocationController, uid: str) -> None:
        """Delete a Secret, and return once the controller has seen it."""
        self.seen.delete("secrets", uid)
        eventually("the deletion is seen", lambda: uid in watch.watcher.revoked().secrets)

    def leader(self, name: str = "one") -> RevocationController:
        """A controller that has published."""
        watch = self.watch(name)
        assert self.turn(watch)
        return watch

    def successor(self, name: str) -> RevocationController:
        """Another controller, after the lease of the first has expired; it has not led yet."""
        watch = self.watch(name)
        self.turn(watch)
        self.advance(watch, DURATION_SECONDS + 1)
        return watch

    def published(self) -> str:
        return "".join(
            json.dumps(found) for path, found in self.objects.objects.items()
            if path.startswith(FRONT)
        )  # fmt: skip

    def has_published(self, *uids: str) -> bool:
        return all(f'"{uid}"' in self.published() for uid in uids)

    def issued_after(self) -> float:
        """The time before which issued tokens are refused."""
        return float(self.published().partition('"end": ')[2].partition("}")[0])

    def closes_at(self) -> str:
        """The time at which Envoy starts to refuse every request."""
        return self.published().partition('"string_value": "')[2].partition('"')[0]

    def parts_with(self, uid: str) -> set[str]:
        """The parts of the list that contain an entry."""
        return {
            path.removeprefix(FRONT) for path, found in self.objects.objects.items()
            if path.startswith(FRONT) and f'"{uid}"' in json.dumps(found)
        }  # fmt: skip

    def parts_written(self) -> list[str]:
        """The parts of the list written since the last call."""
        names = sorted(name for name in self.objects.written if "-revoked-" in name)
        self.objects.written.clear()
        return names


def renew_lease(watch: RevocationController) -> None:
    assert watch.lease is not None
    watch.lease.attempt()


def secret(uid: str) -> DeletedObject:
    return DeletedObject(kind=ObjectKind.SECRET, namespace="team", uid=uid)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for watch in made.watches:
        watch.watcher.stop()


def test_a_deletion_is_recorded_before_it_is_published(world: World) -> None:
    watch = world.leader()
    assert not world.has_published("s-1")
    world.delete(watch, "s-1")
    world.objects.written.clear()
    assert world.turn(watch)
    assert world.has_published("s-1")
    assert world.objects.written[:3] == ["watch", "daypass-gate-known", "daypass-gate-revoked-0"]


def test_a_replica_publishes_only_once_it_holds_the_lease(world: World) -> None:
    one, two = world.watch("one"), world.watch("two")
    world.turn(one)
    assert not world.turn(two)
    world.delete(two, "s-1")
    assert not world.turn(two)
    assert not world.has_published("s-1")
    world.clock.advance(DURATION_SECONDS + 1)
    assert world.turn(two)
    assert world.has_published("s-1")


def test_a_controller_that_loses_the_lease_stops_publishing(world: World) -> None:
    watch = world.leader()
    world.delete(watch, "s-1")
    # It holds the lease at first, and loses it once the record is written.
    world.objects.meanwhile.append(lambda: world.clock.advance(RENEW_WITHIN_SECONDS))
    assert not watch.reconcile()
    assert not world.has_published("s-1")


def test_revocations_published_by_commands_are_not_lost(world: World) -> None:
    watch = world.leader()
    cluster = world.objects.cluster(world.clock)
    assert publish_once(cluster, "daypass", [secret("manual")])
    assert world.has_published("manual")
    world.delete(watch, "s-1")
    assert world.turn(watch)
    assert world.has_published("manual", "s-1")
    # The command publishes between the controller's record and its publication.
    world.delete(watch, "s-2")
    world.objects.meanwhile.append(lambda: publish_once(cluster, "daypass", [secret("manual-too")]))
    for _ in range(3):
        world.turn(watch)
    assert world.has_published("manual-too", "s-2")


def test_the_validity_of_the_list_is_renewed_at_half_time(world: World) -> None:
    watch = world.leader()
    first = world.closes_at()
    world.turn_after(watch, 200)
    assert world.closes_at() == first
    world.turn_after(watch, 110)
    assert world.closes_at() > first


def test_without_events_nothing_is_renewed_and_the_gate_closes(world: World) -> None:
    watch = world.leader()
    first = world.closes_at()
    world.seen.fails = 0
    eventually("the failure is seen", lambda: watch.watcher.last_error)
    world.clock.advance(500)
    world.turn(watch)
    assert world.closes_at() == first
    world.clock.advance(101)
    world.turn(watch)
    assert ("one", WatchEvent.CLOSED) in world.events
    world.seen.fails = None
    eventually("events arrive again", lambda: not watch.watcher.is_closed)
    eventually("the gate opens", lambda: world.turn(watch) and world.closes_at() > first)


def test_two_keys_are_published_and_then_one(world: World) -> None:
    watch = world.leader()
    first, second = (json.loads(Signer(name).jwks)["keys"] for name in ("a", "b"))
    for keys in (first, [*first, *second], second):
        world.keys = SigningKeys(issuer="issuer", key_set=json.dumps({"keys": keys}))
        world.turn(watch)
        found = json.dumps(world.objects.objects[f"{FRONT}{GATE_KEYS}"])
        for each in [*first, *second]:
            assert (each["n"] in found) is (each in keys)


def test_a_failed_publication_is_reported_and_retried(world: World) -> None:
    watch = world.leader()
    world.delete(watch, "s-1")
    world.objects.fails = True
    assert not world.turn(watch)
    assert watch.errors == 1
    check(watch.last_error, reason=WatchEvent.NOT_PUBLISHED)
    assert ("one", WatchEvent.NOT_PUBLISHED) in world.events
    world.objects.fails = False
    assert world.turn(watch)
    assert world.has_published("s-1")
    assert watch.last_error == ""


def test_an_entry_is_removed_after_the_longest_lifetime(world: World) -> None:
    watch = world.leader()
    world.delete(watch, "s-1")
    world.turn(watch)
    for _ in range(3):
        world.turn_after(watch, 1800)
        assert world.has_published("s-1")
    world.advance(watch, 2000)
    eventually("it is removed", lambda: world.turn(watch) and not world.has_published("s-1"))


def test_a_successor_does_not_rewrite_unchanged_parts(world: World) -> None:
    one, two = world.watch("one"), world.watch("two")
    world.turn(one)
    assert world.parts_written() == [f"daypass-gate-revoked-{number}" for number in range(4)]
    world.turn(two)
    assert world.turn_after(two, DURATION_SECONDS + 1)
    assert world.parts_written() == ["daypass-gate-revoked-0"]
    cluster = world.objects.cluster(world.clock)
    assert publish_once(cluster, "daypass", [secret("x")])
    assert world.parts_written() == ["daypass-gate-revoked-0"]


def test_an_entry_stays_in_place_until_its_copy_is_published(world: World) -> None:
    watch = world.leader()
    world.delete(watch, "s-1")
    world.turn(watch)
    world.advance(watch, COMPACT_SECONDS)
    renew_lease(watch)
    # The copy is due. The lease expires once it is recorded, and is held again in the next turn.
    world.objects.meanwhile.append(lambda: world.clock.advance(RENEW_WITHIN_SECONDS))
    assert not watch.reconcile()
    assert world.turn_after(watch, COMPACT_SECONDS)
    assert world.parts_with("s-1") > {"daypass-gate-revoked-0"}
    assert world.turn_after(watch, COMPACT_SECONDS)
    assert "daypass-gate-revoked-0" not in world.parts_with("s-1") != set()


def test_a_successor_keeps_a_copy_until_its_own_is_in_force(world: World) -> None:
    one = world.leader()
    world.delete(one, "s-1")
    world.turn(one)
    two = world.watch("two")
    world.turn_after(one, COMPACT_SECONDS)
    copied = world.parts_with("s-1")
    assert len(copied) == 2
    assert not world.turn(two)
    assert world.turn_after(two, COMPACT_SECONDS - 1)
    assert world.turn_after(two, 1)
    assert world.parts_with("s-1") == copied
    assert world.turn_after(two, COMPACT_SECONDS)
    assert world.parts_with("s-1") == copied - {"daypass-gate-revoked-0"}


def test_a_first_start_refuses_no_token_for_its_age(world: World) -> None:
    world.turn(world.watch("one"))
    assert world.issued_after() < world.clock.unix() - 7000
    assert ("one", WatchEvent.RECORD_LOST) not in world.events


def test_the_record_is_complete_after_the_last_object_of_a_part_is_deleted(world: World) -> None:
    """A part of the known UIDs is empty, which is not the same as missing."""
    world.seen.put("secrets", "b-1")
    one = world.leader()
    world.delete(one, "b-1")
    assert world.turn(one)
    world.turn_after(one, 2)
    one.watcher.stop()
    world.turn(world.successor("two"))
    assert ("two", WatchEvent.LEADING) in world.events
    assert ("two", WatchEvent.RECORD_LOST) not in world.events


HOME = "/api/v1/namespaces/daypass/configmaps/"


@pytest.mark.parametrize("lost", ["daypass-gate-known", "daypass-gate-known-", ""])
def test_without_the_complete_record_older_tokens_are_refused(world: World, lost: str) -> None:
    """The record, the known UIDs, or both are deleted while no controller runs."""
    one = world.leader()
    world.delete(one, "s-1")
    world.turn_after(one, 2)
    world.turn_after(one, 301)
    one.watcher.stop()
    for path in [*world.objects.objects]:
        is_part = path.startswith(f"{HOME}daypass-gate-known-")
        if path.startswith(HOME) and (not lost or is_part is lost.endswith("-")):
            del world.objects.objects[path]
    began = world.clock.unix()
    for name in ("two", "three"):
        watch = world.successor(name)
        if name == "two":  # `iat` is in seconds: tokens of this second look like older ones
            assert not world.turn(watch)
            world.advance(watch, 1)
        assert world.turn(watch)
        assert began < world.issued_after() <= world.clock.unix()
        watch.watcher.stop()
    assert [name for name, event in world.events if event is WatchEvent.RECORD_LOST] == ["two"]


@pytest.mark.parametrize("content", [b"junk", {"refused": {"format": 1}}], ids=["junk", "format"])
def test_after_a_damaged_record_is_deleted_older_tokens_are_refused(
    world: World, content: Any
) -> None:
    one = world.leader()
    one.watcher.stop()
    text = content if isinstance(content, bytes) else gzip.compress(json.dumps(content).encode())
    damaged = world.objects.objects[f"{HOME}daypass-gate-known"]
    damaged["binaryData"] = {"content.json.gz": base64.b64encode(text).decode()}
    two = world.successor("two")
    before = world.published()
    assert not world.turn(two)
    assert "kubectl delete configmap daypass-gate-known -n daypass" in two.last_error
    check(two.last_error, reason=WatchEvent.NOT_PUBLISHED)
    assert world.published() == before
    del world.objects.objects[f"{HOME}daypass-gate-known"]
    began = world.clock.unix()
    assert not world.turn(two)
    assert world.published() == before
    assert world.turn_after(two, 1)
    assert world.issued_after() > began


def test_a_running_controller_rewrites_a_lost_record_and_refuses_no_token(world: World) -> None:
    watch = world.leader()
    del world.objects.objects[f"{HOME}daypass-gate-known"]
    world.delete(watch, "s-1")
    eventually("it is published", lambda: world.turn(watch) and world.has_published("s-1"))
    assert world.issued_after() < world.clock.unix() - 7000
    assert ("one", WatchEvent.RECORD_LOST) not in world.events
