"""Several replicas that publish, step by step, with a fake clock and an API server that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from daypass._core.labels import PUBLISHED, TERM
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.cluster_publisher import CHECKED_AT_ONCE, term_of
from daypass.gate.watch.controller import BACKOFF, SETTLE_SECONDS, State, WatchEvent
from daypass.kube.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS
from daypass.render.objects import GATE_KEYS
from daypass.rules.credentials import CLOSED_PART
from daypass.rules.denials import Denial, DeniedKind
from daypass.rules.published import DENIALS, part_name
from support.messages import check
from support.tokens import Signer
from support.watch_replicas import (
    CLOSE_AFTER,
    CONFIG_MAPS,
    FILTERS,
    LEASE,
    Replica,
    WatchWorld,
    plain_filters,
)

PARTS = [part_name(number) for number in range(4)]


@pytest.fixture
def world() -> Iterator[WatchWorld]:
    with plain_filters():
        yield WatchWorld()


def after_lease(world: WatchWorld, replica: Replica) -> None:
    """Let the lease of a lost leader expire, and the replica take over."""
    replica.work()
    world.clock.advance(DURATION_SECONDS + 1)
    replica.work()


def half_listed(world: WatchWorld) -> Replica:
    """A new leader that has listed one of two namespaces."""
    world.leader().lease.stop()
    new = world.replica("two")
    new.observer.list_cluster()
    new.observer.list_namespace("red")
    new.turn()
    return new


def test_what_exists_is_published_and_what_is_deleted_no_longer(world: WatchWorld) -> None:
    one, other = world.create(), world.create()
    replica = world.leader()
    assert world.uids() == {one, other}
    world.delete(one)
    replica.work()
    assert world.uids() == {other}
    assert [part.uids for part in world.filtered()] == [p.uids for p in world.published().parts]
    assert replica.logged(WatchEvent.REMOVED) == [{"uid": one}]
    assert replica.state is State.PUBLISHING


def test_only_what_changes_is_written_first_for_istio_and_removals_before_additions(
    world: WatchWorld,
) -> None:
    one = world.create()
    replica = world.leader()
    world.written()
    replica.work()
    assert world.written() == []
    world.delete(one)  # in part 1
    world.create()  # in part 2
    replica.work()
    assert world.written() == [PARTS[1], PARTS[1], PARTS[2], PARTS[2]]


def test_what_the_config_map_says_of_a_deletion_is_in_the_filter_already(
    world: WatchWorld,
) -> None:
    one = world.create()
    replica = world.leader()
    world.delete(one)
    seen: list[set[str]] = []

    def look() -> None:
        seen.append({uid for part in world.filtered() for uid in part.uids})

    replica.observer.list_all()
    world.api.meanwhile.append(lambda: world.api.meanwhile.append(look))  # before the second write
    replica.controller.step()
    assert seen == [set()]
    assert world.uids() == set()


def test_a_second_replica_waits_until_the_lease_of_the_first_expires(world: WatchWorld) -> None:
    world.create()
    world.leader()
    second = world.replica("two")
    uid = world.create()
    second.work()
    assert second.state is State.FOLLOWER
    assert uid not in world.uids()
    world.clock.advance(DURATION_SECONDS + 1)
    second.work()
    assert uid in world.uids()
    assert second.logged(WatchEvent.STATE)[-1] == {
        "state": "publishing", "leader": "two", "term": 2,
    }  # fmt: skip
    assert world.terms() == {2}


def test_a_new_leader_leaves_in_force_what_was_published_until_it_has_listed_all(
    world: WatchWorld,
) -> None:
    red, blue = world.create("red"), world.create("blue")
    new = half_listed(world)
    assert new.state is State.LISTING
    assert world.uids() == {red, blue}
    world.delete(blue)
    new.observer.list_namespace("blue")
    world.written()
    new.turn()
    assert world.uids() == {red}
    assert set(world.written()) <= {*PARTS, DENIALS}


def test_a_new_leader_does_not_wait_for_a_namespace_if_nothing_else_is_listed(
    world: WatchWorld,
) -> None:
    red, blue = world.create("red"), world.create("blue")
    new = half_listed(world)
    for _ in range(2):
        world.clock.advance(SETTLE_SECONDS / 2 - 1)
        new.turn()
        assert world.uids() == {red, blue}
    world.clock.advance(3)
    new.turn()
    assert world.uids() == {red}


def test_what_is_in_force_and_right_is_not_written_again_by_a_new_leader(
    world: WatchWorld,
) -> None:
    world.create()
    world.leader().lease.stop()
    new = world.replica("two")
    new.work()
    world.written()
    new.work()
    assert world.written() == []


def test_a_namespace_that_may_not_be_listed_leaves_in_time_and_the_others_stay(
    world: WatchWorld,
) -> None:
    red, blue = world.create("red"), world.create("blue")
    replica = world.leader()
    world.cluster.forbidden.add("blue")
    for _ in range(6):
        assert world.uids() == {red, blue}
        world.clock.advance(CLOSE_AFTER / 7)
        replica.work()
    world.clock.advance(CLOSE_AFTER / 20)
    replica.work()
    assert world.uids() == {red}
    world.cluster.forbidden.clear()
    replica.work()
    assert world.uids() == {red, blue}
    why, over = replica.problems("namespaces")
    check(why, "blue", reason="namespaces")
    assert over == ""


def test_the_whole_set_is_renewed_in_time_one_part_at_a_time(world: WatchWorld) -> None:
    uid = world.create()
    replica = world.leader()
    world.written()
    most = 0
    for _ in range(600):
        world.clock.advance(2.0)
        replica.work()
        most = max(most, len(world.written()))
        assert uid in world.passing(world.clock.unix())
        assert min(part.closes_unix for part in world.published().parts) > world.clock.unix() + 60
    assert most == 2


def test_without_listings_nothing_is_renewed_and_the_gate_closes(world: WatchWorld) -> None:
    uid = world.create()
    replica = world.leader()
    for _ in range(12):
        world.clock.advance(CLOSE_AFTER / 10)
        replica.turn()
    assert uid not in world.passing(world.clock.unix())
    assert "closed" in replica.controller.problems()
    replica.work()
    assert replica.states() == [State.PUBLISHING, State.CLOSED, State.PUBLISHING]
    assert replica.controller.problems() == {}
    assert uid in world.passing(world.clock.unix())


@pytest.mark.parametrize("back_seconds", [10, 3 * 3600])
def test_after_a_clock_went_back_nothing_is_valid_for_too_long(
    world: WatchWorld, back_seconds: int
) -> None:
    world.create()
    replica = world.replica("one")
    replica.clock.ahead = back_seconds
    replica.work()
    replica.clock.ahead = 0
    replica.work()
    latest = world.clock.unix() + CLOSE_AFTER
    assert max(part.closes_unix for part in world.published().parts) <= latest
    assert max(part.closes_unix for part in world.filtered()) <= latest


def test_a_clock_that_is_ahead_of_the_api_servers_makes_nothing_valid_for_longer(
    world: WatchWorld,
) -> None:
    uid = world.create()
    replica = world.replica("one")
    replica.clock.ahead = replica.cluster.clock_ahead_seconds = 3 * 3600
    replica.work()
    assert {part.closes_unix for part in world.filtered()} == {
        int(world.clock.unix() + CLOSE_AFTER)
    }
    assert replica.state is State.PUBLISHING
    assert uid in world.passing(world.clock.unix())
    world.clock.advance(CLOSE_AFTER)
    assert uid not in world.passing(world.clock.unix())


def test_a_paused_leader_that_wakes_writes_nothing(world: WatchWorld) -> None:
    """It has decided what to write, and holds the lease by all that it knows."""
    uid, other = world.create(), world.create()
    old = world.leader()
    new = world.replica("two")
    new.work()
    world.delete(uid)

    def sleeps() -> None:
        after_lease(world, new)
        assert world.uids() == {other}
        world.written()

    late = world.create()
    old.observer.get_events("red")
    world.delete(late)
    old.lease.attempt()
    world.api.meanwhile.append(sleeps)
    old.controller.step()
    assert world.written() == []
    assert world.uids() == {other}
    assert old.state is State.FOLLOWER
    assert world.terms() == {2}
    old.work()
    assert old.state is State.FOLLOWER
    assert old.lease.holder == "two"


def test_a_paused_leader_creates_nothing_in_place_of_a_later_one(world: WatchWorld) -> None:
    """An object was deleted by someone else: neither has a version of it to name."""
    old = world.leader()
    new = world.replica("two")
    new.work()
    path = f"{CONFIG_MAPS}{PARTS[0]}"
    del world.api.objects[path]
    while old.state is not State.FOLLOWER:  # until it sees that
        old.work()
    world.clock.advance(1)

    def sleeps() -> None:
        after_lease(world, new)
        assert term_of(world.api.objects[path]) == 3
        world.written()

    def goes_on() -> None: ...

    old.lease.attempt()
    # It raises its term, and writes it on the keys and on a filter.
    world.api.meanwhile += [sleeps, goes_on, goes_on, goes_on]
    old.controller.step()
    assert world.api.meanwhile == []
    assert world.written() == []
    assert term_of(world.api.objects[path]) == 3


def test_a_clean_handover_loses_nothing_and_takes_no_time(world: WatchWorld) -> None:
    uid = world.create()
    old, new = world.leader(), world.replica("two")
    new.work()
    world.delete(uid)
    old.lease.stop()
    new.work()
    assert world.uids() == set()
    assert world.terms() == {2}
    assert all(part.closes_unix > world.clock.unix() for part in world.published().parts)


@pytest.mark.parametrize("restored", [False, True])
def test_a_lease_that_is_deleted_or_restored_stops_nobody_for_good(
    world: WatchWorld, restored: bool
) -> None:
    first = world.leader()
    before = json.loads(json.dumps(world.api.objects[LEASE]))
    first.lease.stop()
    second = world.replica("two")
    second.work()
    assert world.terms() == {2}
    if restored:
        world.api.put(LEASE, before)
    else:
        del world.api.objects[LEASE]
    third = world.replica("three")
    after_lease(world, third)
    assert third.state is State.PUBLISHING
    assert world.lease_term() == 3
    assert world.terms() == {3}
    uid = world.create()
    second.work()
    assert second.state is State.FOLLOWER
    assert uid not in world.uids()
    third.work()
    assert uid in world.uids()


def test_a_leader_whose_lease_was_deleted_takes_over_from_itself(world: WatchWorld) -> None:
    replica = world.leader()
    del world.api.objects[LEASE]
    uid = world.create()
    replica.work()
    replica.work()
    assert uid in world.uids()
    assert world.terms() == {world.lease_term()} == {2}


def test_a_leader_that_lost_its_lease_leaves_the_rest_of_a_round(world: WatchWorld) -> None:
    replica = world.leader()
    for _ in range(4):
        world.create()
    replica.observer.list_all()
    world.written()
    world.api.meanwhile.append(lambda: world.clock.advance(RENEW_WITHIN_SECONDS))
    replica.controller.step()
    assert world.written() == [PARTS[0], PARTS[0]]


def check_everything(world: WatchWorld, replica: Replica) -> None:
    """Let a replica look at each object once, and heal what it finds."""
    for _ in range(len(world.api.objects) // CHECKED_AT_ONCE + 2):
        world.clock.advance(1)
        replica.work()


@pytest.mark.parametrize("where", [CONFIG_MAPS, FILTERS])
def test_what_others_delete_is_written_again(world: WatchWorld, where: str) -> None:
    uid = world.create()
    replica = world.leader()
    del world.api.objects[f"{where}{PARTS[1]}"]
    check_everything(world, replica)
    check(replica.problems("publish")[0], f"{where}{PARTS[1]}", reason="changed")
    assert replica.state is State.PUBLISHING
    assert uid in world.uids()
    assert uid in {uid for part in world.filtered() for uid in part.uids}


def test_what_others_change_is_written_again_with_its_labels(world: WatchWorld) -> None:
    uid = world.create()
    replica = world.leader()
    path = f"{CONFIG_MAPS}{PARTS[1]}"
    world.api.touch(path, labels={PUBLISHED: None}, annotations={TERM: None})
    world.api.objects[path]["data"]["uids"] = f"{uid}\nffffffff"
    check_everything(world, replica)
    assert world.api.objects[path]["metadata"]["labels"][PUBLISHED] == "true"
    assert world.uids() == {uid}


@pytest.mark.parametrize("term", [2**30 - 1, 2**31 - 1, 2**63])
def test_a_term_that_another_has_written_stops_nobody(world: WatchWorld, term: int) -> None:
    replica = world.leader()
    for where in (CONFIG_MAPS, FILTERS):
        world.api.touch(f"{where}{PARTS[1]}", annotations={TERM: str(term)})
        check_everything(world, replica)
    uid = world.create()
    replica.work()
    assert uid in world.uids()
    assert len(world.terms()) == 1
    successor = world.replica("two")
    replica.lease.stop()
    successor.work()
    assert successor.state is State.PUBLISHING


@pytest.mark.parametrize("where", [CONFIG_MAPS, FILTERS])
def test_nothing_of_what_others_have_added_is_left(world: WatchWorld, where: str) -> None:
    """Such as a label of the gateway's pods in an earlier config."""
    replica = world.leader()
    path = f"{where}{PARTS[1]}"
    added = world.api.objects[path]["spec" if where == FILTERS else "data"]
    added["of another"] = "x"
    world.api.touch(path, labels={"of": "another"})
    check_everything(world, replica)
    assert "another" not in json.dumps(world.api.objects[path])


def test_another_who_changes_everything_always_does_not_keep_the_leader_busy(
    world: WatchWorld,
) -> None:
    uid = world.create()
    replica = world.leader()
    world.written()
    for _ in range(120):
        for path in [each for each in world.api.objects if each.startswith(CONFIG_MAPS)]:
            world.api.touch(path, annotations={"note": "x"})
        world.clock.advance(0.5)
        replica.work()
    assert len(world.written()) < 15 * len(world.api.objects)
    assert uid in world.passing(world.clock.unix())


def test_a_change_that_meets_one_of_another_takes_over_again(world: WatchWorld) -> None:
    replica = world.leader()
    world.api.touch(f"{FILTERS}{PARTS[1]}", annotations={"note": "x"})
    uid = world.create()
    replica.work()
    assert uid not in world.uids()
    world.clock.advance(1)
    replica.work()
    assert uid in world.uids()
    assert len(world.terms()) == 1


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_after_a_write_that_failed_in_part_both_objects_are_right(
    world: WatchWorld, written: int
) -> None:
    """A credential that is deleted before the next attempt: what remains looks unchanged."""
    replica = world.leader()
    replica.lease.attempt()
    uid = world.create()
    replica.observer.list_all()
    world.api.fails_after = written
    replica.controller.step()
    world.api.fails_after = None
    world.delete(uid)
    world.clock.advance(1)
    replica.work()
    assert uid not in world.passing(world.clock.unix())


def test_a_part_that_the_api_server_refuses_holds_up_no_other(world: WatchWorld) -> None:
    one, other, stays = (world.create() for _ in range(3))
    replica = world.leader()
    world.api.refuses.add(PARTS[1])
    for uid in (one, other):
        world.delete(uid)
    replica.work()
    assert world.uids() == {one, stays}
    assert PARTS[1] in replica.controller.problems()["publish"]
    until = world.clock.unix() + 2 * CLOSE_AFTER
    while world.clock.unix() < until:
        world.clock.advance(5)
        replica.work()
        assert stays in world.passing(world.clock.unix())
    assert one not in world.passing(world.clock.unix())
    world.api.refuses.clear()
    world.clock.advance(BACKOFF.longest_seconds)
    replica.work()
    assert world.uids() == {stays}


def test_a_write_whose_answer_is_lost_is_repeated(world: WatchWorld) -> None:
    replica = world.leader()
    replica.lease.attempt()
    uid = world.create()
    replica.observer.list_all()
    world.api.loses_answers = 1
    replica.controller.step()
    world.delete(uid)
    world.clock.advance(1)
    replica.work()
    assert uid not in world.passing(world.clock.unix())


def test_a_failed_publication_is_reported_and_repeated(world: WatchWorld) -> None:
    replica = world.leader()
    replica.lease.attempt()
    uid = world.create()
    replica.observer.list_all()
    world.api.fails_after = 0
    replica.controller.step()
    check(replica.controller.problems()["publish"], reason="not-published")
    world.api.fails_after = None
    replica.controller.step()
    assert uid not in world.uids()
    world.clock.advance(1)
    replica.work()
    assert uid in world.uids()
    assert len(replica.problems("publish")) == 2
    assert replica.problems("publish")[1] == ""


def test_missing_objects_are_created_closed_before_anything_is_listed(world: WatchWorld) -> None:
    replica = world.replica("one")
    replica.turn()
    assert replica.state is State.LISTING
    assert [part.closes_unix for part in world.filtered()] == [0, 0, 0, 0]
    assert set(world.published().parts) == {CLOSED_PART}


@pytest.mark.parametrize(
    "changed", [{"entries": "x"}, {"closesAt": "9999-12-31T23:59:59-14:00"}, {"closesAt": "0001"}]
)
def test_an_unreadable_part_counts_as_closed_and_is_written(
    world: WatchWorld, changed: dict[str, str]
) -> None:
    uid = world.create()
    world.leader().lease.stop()
    path = f"{CONFIG_MAPS}{PARTS[1]}"
    data = world.api.objects[path]["data"]
    world.api.put(path, {**world.api.objects[path], "data": {**data, **changed}})
    new = world.replica("two")
    new.work()
    assert uid in world.uids()


def test_keys_are_published_again_when_they_change_and_by_a_new_leader(world: WatchWorld) -> None:
    replica = world.leader()
    first, second = (json.loads(Signer(name).jwks)["keys"] for name in ("a", "b"))
    for keys in (first, [*first, *second], second):
        replica.keys = SigningKeys(issuer="issuer", key_set=json.dumps({"keys": keys}))
        world.written()
        replica.work()
        assert world.written() == [GATE_KEYS]
        found = json.dumps(world.api.objects[f"{FILTERS}{GATE_KEYS}"])
        assert all((each["n"] in found) is (each in keys) for each in [*first, *second])
    replica.lease.stop()
    new = world.replica("two")
    new.work()
    assert term_of(world.api.objects[f"{FILTERS}{GATE_KEYS}"]) == 2


def test_a_denial_is_published_first_and_ends_with_its_time(world: WatchWorld) -> None:
    uid = world.create()
    replica = world.leader()
    until = world.clock.unix() + 50
    world.cluster.denials = (Denial(kind=DeniedKind.TOKEN, name="t1", until_unix=until),)
    world.delete(uid)
    world.create()
    world.written()
    replica.work()
    assert world.denied() == {"jti.t1"}
    assert world.written()[-2:] == [PARTS[2], PARTS[2]]
    assert replica.logged(WatchEvent.DENIED) == [{"key": "jti.t1"}]
    world.clock.advance(51)
    replica.turn()
    assert world.denied() == set()


def test_what_is_left_out_is_reported_in_its_namespace(world: WatchWorld) -> None:
    replica = world.leader()
    for count in (1, 2, 0, 3, 4):
        world.clock.advance(1)
        replica.observer.left_out = {"red": count} if count else {}
        replica.work()
    assert replica.publisher.warned == ["red", "red"]
    why, over, again = replica.problems("leftOut")
    check(why, "red", reason="left-out")
    assert (over, again) == ("", why)


@pytest.mark.parametrize("ahead", [11.0, -11.0])
def test_a_clock_that_differs_from_the_api_servers_is_reported(
    world: WatchWorld, ahead: float
) -> None:
    replica = world.leader()
    assert replica.controller.problems() == {}
    replica.cluster.clock_ahead_seconds = ahead
    replica.work()
    check(replica.problems("clock")[0], reason="clock")
    replica.cluster.clock_ahead_seconds = 9.0
    replica.work()
    assert replica.problems("clock")[1:] == [""]


def test_publishing_once_takes_everything_and_all_parts_at_once(world: WatchWorld) -> None:
    uids = {world.create() for _ in range(4)}
    replica = world.replica("one")
    replica.lease.attempt()
    replica.observer.sync()
    assert replica.controller.publish_once()
    assert world.uids() == uids
    assert f"{FILTERS}{GATE_KEYS}" in world.api.objects


@pytest.mark.parametrize("every", [CLOSE_AFTER / 10, CLOSE_AFTER / 2])
def test_publishing_once_now_and_then_leaves_no_time_in_which_the_gate_is_closed(
    world: WatchWorld, every: float
) -> None:
    uid = world.create()
    for run in range(8):
        assert run == 0 or uid in world.passing(world.clock.unix())
        replica = world.replica(f"run-{run}")
        replica.lease.attempt()
        replica.observer.sync()
        assert replica.controller.publish_once()
        replica.lease.stop()
        latest = world.clock.unix() + CLOSE_AFTER
        assert {part.closes_unix for part in world.published().parts} == {int(latest)}
        world.clock.advance(every)


def test_publishing_once_what_was_not_listed_publishes_nothing(world: WatchWorld) -> None:
    replica = world.replica("one")
    replica.lease.attempt()
    assert not replica.controller.publish_once()


@pytest.fixture
def slow(world: WatchWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write takes 0.1 s: a part has two, and a round lasts until 0.25 s have passed."""
    handle = world.api.handle_request

    def slowly(request: Any) -> Any:
        if request.method != "GET":
            world.clock.advance(0.1)
        return handle(request)

    monkeypatch.setattr(world.api, "handle_request", slowly)


@pytest.mark.usefixtures("slow")
def test_a_round_ends_in_time_so_that_istiod_delivers_it(world: WatchWorld) -> None:
    gone = [world.create() for _ in range(4)]
    replica = world.leader()
    world.written()
    for uid in gone:
        world.delete(uid)
    replica.observer.list_all()
    assert replica.controller.step()
    assert world.written() == [PARTS[0], PARTS[0], PARTS[1], PARTS[1]]
    assert replica.controller.step()
    assert world.written() == [PARTS[2], PARTS[2], PARTS[3], PARTS[3]]


@pytest.mark.usefixtures("slow")
def test_a_namespace_in_which_much_changes_delays_no_other(world: WatchWorld) -> None:
    red = [world.create("red") for _ in range(4)]
    blue = world.create("blue")  # in part 1
    replica = world.leader()

    def churn() -> None:
        for uid in red:
            world.delete(uid)
        red[:] = [world.create("red") for _ in range(4)]
        replica.observer.list_all()
        world.written()
        assert replica.controller.step()

    churn()
    assert world.written() == [PARTS[0], PARTS[0], PARTS[1], PARTS[1]]
    world.delete(blue)
    churn()  # parts 2 and 3 have waited for longer
    assert blue not in world.uids()
    churn()
    churn()
    assert set(red) & world.uids()  # and its own turn comes, too


def test_after_each_failure_the_next_attempt_comes_later(
    world: WatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = world.leader()
    world.create()
    replica.observer.list_all()
    read: set[float] = set()
    handle = world.api.handle_request

    def noting(request: Any) -> Any:
        if request.method == "GET" and request.url.path.startswith(FILTERS):
            read.add(world.clock.monotonic())
        return handle(request)

    monkeypatch.setattr(world.api, "handle_request", noting)
    for _ in range(80):
        world.clock.advance(0.5)
        world.api.fails_after = 1  # the lease
        replica.turn()
    seconds = [later - earlier for earlier, later in pairwise(sorted(read))]
    assert seconds[:5] == [2, 4, 8, 10, 10]
