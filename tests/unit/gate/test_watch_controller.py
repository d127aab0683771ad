"""Several replicas that publish, step by step, with a fake clock and an API server that fails."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from daypass._core.kubernetes.labels import PUBLISHED, TERM
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.cluster_publisher import BACKOFF, CHECKED_AT_ONCE, term_of
from daypass.gate.watch.controller import State, WatchEvent
from daypass.gate.watch.schedule import SETTLE_SECONDS
from daypass.kube.lease import DURATION_SECONDS, RENEW_WITHIN_SECONDS
from daypass.render.names import GATE_KEYS
from daypass.rules.published import CLOSED_SHARD, DENIALS, Denial, DeniedKind, shard_name
from support.messages import check
from support.tokens import Signer
from support.watch_replicas import (
    CLOSE_AFTER,
    CONFIG_MAPS,
    FILTERS,
    LEASE,
    Replica,
    WatchEnv,
)

SHARDS = list(map(shard_name, range(4)))
SHARD_PATHS = {CONFIG_MAPS: f"{CONFIG_MAPS}{SHARDS[1]}", FILTERS: f"{FILTERS}{SHARDS[1]}"}
"""Of one shard, by where it is."""


@pytest.fixture
def env() -> WatchEnv:
    return WatchEnv()


def after_lease(env: WatchEnv, replica: Replica) -> None:
    """Let the lease of a lost leader expire, and the replica take over."""
    replica.work()
    env.clock.advance(DURATION_SECONDS + 1)
    replica.work()


def half_listed(env: WatchEnv) -> Replica:
    """A new leader that has listed one of two namespaces."""
    env.leader().lease.stop()
    new = env.replica("two")
    new.observer.list_cluster()
    new.observer.list_namespace("red")
    new.turn()
    return new


def test_what_exists_is_published_and_what_is_deleted_no_longer(env: WatchEnv) -> None:
    one, other = env.create(), env.create()
    replica = env.leader()
    assert env.uids() == {one, other}
    env.delete(one)
    replica.work()
    assert env.uids() == {other}
    assert [shard.uids for shard in env.filtered()] == [p.uids for p in env.published().shards]
    assert replica.logged(WatchEvent.REMOVED) == [{"uid": one}]
    assert replica.state is State.PUBLISHING


def test_only_what_changes_is_written_first_for_istio_and_removals_before_additions(
    env: WatchEnv,
) -> None:
    one = env.create()
    replica = env.leader()
    env.written()
    replica.work()
    assert env.written() == []
    env.delete(one)  # in shard 1
    env.create()  # in shard 2
    replica.work()
    assert env.written() == [SHARDS[1], SHARDS[1], SHARDS[2], SHARDS[2]]


def test_what_the_config_map_says_of_a_deletion_is_in_the_filter_already(
    env: WatchEnv,
) -> None:
    one = env.create()
    replica = env.leader()
    env.delete(one)
    seen: list[set[str]] = []

    def look() -> None:
        seen.append({uid for shard in env.filtered() for uid in shard.uids})

    replica.observer.list_all()
    env.api.meanwhile.append(lambda: env.api.meanwhile.append(look))  # before the second write
    replica.controller.step()
    assert seen == [set()]
    assert env.uids() == set()


def test_a_second_replica_waits_until_the_lease_of_the_first_expires(env: WatchEnv) -> None:
    env.create()
    env.leader()
    second = env.replica("two")
    uid = env.create()
    second.work()
    assert second.state is State.FOLLOWER
    assert uid not in env.uids()
    env.clock.advance(DURATION_SECONDS + 1)
    second.work()
    assert uid in env.uids()
    assert second.logged(WatchEvent.STATE)[-1] == {
        "state": "publishing", "leader": "two", "term": 2,
    }  # fmt: skip
    assert env.terms() == {2}


def test_a_new_leader_leaves_in_force_what_was_published_until_it_has_listed_all(
    env: WatchEnv,
) -> None:
    red, blue = env.create("red"), env.create("blue")
    new = half_listed(env)
    assert new.state is State.LISTING
    assert env.uids() == {red, blue}
    env.delete(blue)
    new.observer.list_namespace("blue")
    env.written()
    new.turn()
    assert env.uids() == {red}
    assert set(env.written()) <= {*SHARDS, *SHARDS, DENIALS}


def test_a_new_leader_does_not_wait_for_a_namespace_if_nothing_else_is_listed(
    env: WatchEnv,
) -> None:
    red, blue = env.create("red"), env.create("blue")
    new = half_listed(env)
    for _ in range(2):
        env.clock.advance(SETTLE_SECONDS / 2 - 1)
        new.turn()
        assert env.uids() == {red, blue}
    env.clock.advance(3)
    new.turn()
    assert env.uids() == {red}


def test_what_is_in_force_and_right_is_not_written_again_by_a_new_leader(
    env: WatchEnv,
) -> None:
    env.create()
    env.leader().lease.stop()
    new = env.replica("two")
    new.work()
    env.written()
    new.work()
    assert env.written() == []


def test_a_namespace_that_may_not_be_listed_leaves_in_time_and_the_others_stay(
    env: WatchEnv,
) -> None:
    red, blue = env.create("red"), env.create("blue")
    replica = env.leader()
    env.cluster.forbidden.add("blue")
    for _ in range(6):
        assert env.uids() == {red, blue}
        env.clock.advance(CLOSE_AFTER / 7)
        replica.work()
    env.clock.advance(CLOSE_AFTER / 20)
    replica.work()
    assert env.uids() == {red}
    env.cluster.forbidden.clear()
    replica.work()
    assert env.uids() == {red, blue}
    why, over = replica.problems("namespaces")
    check(why, "blue", reason="namespaces")
    assert over == ""


def test_the_whole_set_is_renewed_in_time(env: WatchEnv) -> None:
    uid = env.create()
    replica = env.leader()
    env.written()
    most = 0
    for _ in range(600):
        env.clock.advance(2.0)
        replica.work()
        most = max(most, len(env.written()))
        assert uid in env.passing(env.clock.unix())
        assert min(shard.closes_unix for shard in env.published().shards) > env.clock.unix() + 60
    assert most == 2 * (len(SHARDS) + 1)


def test_without_listings_nothing_is_renewed_and_the_gate_closes(env: WatchEnv) -> None:
    uid = env.create()
    replica = env.leader()
    for _ in range(12):
        env.clock.advance(CLOSE_AFTER / 10)
        replica.turn()
    assert uid not in env.passing(env.clock.unix())
    assert "closed" in replica.controller.problems()
    replica.work()
    assert replica.states() == [State.PUBLISHING, State.CLOSED, State.PUBLISHING]
    assert replica.controller.problems() == {}
    assert uid in env.passing(env.clock.unix())


@pytest.mark.parametrize("back_seconds", [10, 3 * 3600])
def test_after_a_clock_went_back_nothing_is_valid_for_too_long(
    env: WatchEnv, back_seconds: int
) -> None:
    env.create()
    replica = env.replica("one")
    replica.clock.ahead = back_seconds
    replica.work()
    replica.clock.ahead = 0
    replica.work()
    latest = env.clock.unix() + CLOSE_AFTER
    assert max(shard.closes_unix for shard in env.published().shards) <= latest
    assert max(shard.closes_unix for shard in env.filtered()) <= latest


def test_a_clock_that_is_ahead_of_the_api_servers_makes_nothing_valid_for_longer(
    env: WatchEnv,
) -> None:
    uid = env.create()
    replica = env.replica("one")
    replica.clock.ahead = replica.cluster.clock_ahead_seconds = 3 * 3600
    replica.work()
    assert {shard.closes_unix for shard in env.filtered()} == {int(env.clock.unix() + CLOSE_AFTER)}
    assert replica.state is State.PUBLISHING
    assert uid in env.passing(env.clock.unix())
    env.clock.advance(CLOSE_AFTER)
    assert uid not in env.passing(env.clock.unix())


def test_a_paused_leader_that_wakes_writes_nothing(env: WatchEnv) -> None:
    """It has decided what to write, and holds the lease by all that it knows."""
    uid, other = env.create(), env.create()
    old = env.leader()
    new = env.replica("two")
    new.work()
    env.delete(uid)

    def sleeps() -> None:
        after_lease(env, new)
        assert env.uids() == {other}
        env.written()

    late = env.create()
    old.observer.get_events("red")
    env.delete(late)
    old.lease.attempt()
    env.api.meanwhile.append(sleeps)
    old.controller.step()
    assert env.written() == []
    assert env.uids() == {other}
    assert old.state is State.FOLLOWER
    assert env.terms() == {2}
    old.work()
    assert old.state is State.FOLLOWER
    assert old.lease.holder == "two"


def test_a_paused_leader_creates_nothing_in_place_of_a_later_one(env: WatchEnv) -> None:
    """An object was deleted by someone else: neither has a version of it to name."""
    old = env.leader()
    new = env.replica("two")
    new.work()
    path = f"{CONFIG_MAPS}{SHARDS[0]}"
    del env.api.objects[path]
    while old.state is not State.FOLLOWER:  # until it sees that
        old.work()
    env.clock.advance(1)

    def sleeps() -> None:
        after_lease(env, new)
        assert term_of(env.api.objects[path]) == 3
        env.written()

    def goes_on() -> None: ...

    old.lease.attempt()
    # It raises its term, and writes it on the keys and on a filter.
    env.api.meanwhile += [sleeps, goes_on, goes_on, goes_on]
    old.controller.step()
    assert env.api.meanwhile == []
    assert env.written() == []
    assert term_of(env.api.objects[path]) == 3


def test_a_clean_handover_loses_nothing_and_takes_no_time(env: WatchEnv) -> None:
    uid = env.create()
    old, new = env.leader(), env.replica("two")
    new.work()
    env.delete(uid)
    old.lease.stop()
    new.work()
    assert env.uids() == set()
    assert env.terms() == {2}
    assert all(shard.closes_unix > env.clock.unix() for shard in env.published().shards)


@pytest.mark.parametrize("restored", [False, True])
def test_a_lease_that_is_deleted_or_restored_stops_nobody_for_good(
    env: WatchEnv, restored: bool
) -> None:
    first = env.leader()
    before = json.loads(json.dumps(env.api.objects[LEASE]))
    first.lease.stop()
    second = env.replica("two")
    second.work()
    assert env.terms() == {2}
    if restored:
        env.api.put(LEASE, before)
    else:
        del env.api.objects[LEASE]
    third = env.replica("three")
    after_lease(env, third)
    assert third.state is State.PUBLISHING
    assert env.lease_term() == 3
    assert env.terms() == {3}
    uid = env.create()
    second.work()
    assert second.state is State.FOLLOWER
    assert uid not in env.uids()
    third.work()
    assert uid in env.uids()


def test_a_leader_whose_lease_was_deleted_takes_over_from_itself(env: WatchEnv) -> None:
    replica = env.leader()
    del env.api.objects[LEASE]
    uid = env.create()
    replica.work()
    replica.work()
    assert uid in env.uids()
    assert env.terms() == {env.lease_term()} == {2}


def test_a_leader_that_lost_its_lease_leaves_the_rest_of_a_round(env: WatchEnv) -> None:
    replica = env.leader()
    for _ in range(4):
        env.create()
    replica.observer.list_all()
    env.written()
    env.api.meanwhile.append(lambda: env.clock.advance(RENEW_WITHIN_SECONDS))
    replica.controller.step()
    assert env.written() == [SHARDS[0], SHARDS[0]]


def check_everything(env: WatchEnv, replica: Replica) -> None:
    """Let a replica look at each object once, and heal what it finds."""
    for _ in range(len(env.api.objects) // CHECKED_AT_ONCE + 2):
        env.clock.advance(1)
        replica.work()


@pytest.mark.parametrize("where", [CONFIG_MAPS, FILTERS])
def test_what_others_delete_is_written_again(env: WatchEnv, where: str) -> None:
    uid = env.create()
    replica = env.leader()
    del env.api.objects[SHARD_PATHS[where]]
    check_everything(env, replica)
    kind = "publish" if where == CONFIG_MAPS else "gates"
    check(replica.problems(kind)[0], SHARD_PATHS[where], reason="changed")
    assert replica.controller.problems() == {}
    assert replica.state is State.PUBLISHING
    assert uid in env.uids()
    assert uid in {uid for shard in env.filtered() for uid in shard.uids}


def test_what_others_change_is_written_again_with_its_labels(env: WatchEnv) -> None:
    uid = env.create()
    replica = env.leader()
    path = f"{CONFIG_MAPS}{SHARDS[1]}"
    env.api.touch(path, labels={PUBLISHED: None}, annotations={TERM: None})
    env.api.objects[path]["data"]["uids"] = f"{uid}\nffffffff"
    check_everything(env, replica)
    assert env.api.objects[path]["metadata"]["labels"][PUBLISHED] == "true"
    assert env.uids() == {uid}


@pytest.mark.parametrize("term", [2**30 - 1, 2**31 - 1, 2**63])
def test_a_term_that_another_has_written_stops_nobody(env: WatchEnv, term: int) -> None:
    replica = env.leader()
    for where in (CONFIG_MAPS, FILTERS):
        env.api.touch(SHARD_PATHS[where], annotations={TERM: str(term)})
        check_everything(env, replica)
    uid = env.create()
    replica.work()
    assert uid in env.uids()
    assert len(env.terms()) == 1
    successor = env.replica("two")
    replica.lease.stop()
    successor.work()
    assert successor.state is State.PUBLISHING


@pytest.mark.parametrize("where", [CONFIG_MAPS, FILTERS])
def test_nothing_of_what_others_have_added_is_left(env: WatchEnv, where: str) -> None:
    """Such as a label of the gateway's pods in an earlier config."""
    replica = env.leader()
    path = SHARD_PATHS[where]
    added = env.api.objects[path]["spec" if where == FILTERS else "data"]
    added["of another"] = "x"
    env.api.touch(path, labels={"of": "another"})
    check_everything(env, replica)
    assert "another" not in json.dumps(env.api.objects[path])


def test_another_who_changes_everything_always_does_not_keep_the_leader_busy(
    env: WatchEnv,
) -> None:
    uid = env.create()
    replica = env.leader()
    env.written()
    for _ in range(120):
        for path in [each for each in env.api.objects if each.startswith(CONFIG_MAPS)]:
            env.api.touch(path, annotations={"note": "x"})
        env.clock.advance(0.5)
        replica.work()
    assert len(env.written()) < 15 * len(env.api.objects)
    assert uid in env.passing(env.clock.unix())


@pytest.mark.parametrize("where", [CONFIG_MAPS, FILTERS])
def test_a_change_that_meets_one_of_another_replaces_it(env: WatchEnv, where: str) -> None:
    replica = env.leader()
    env.api.touch(SHARD_PATHS[where], annotations={"note": "x"})
    uid = env.create()
    replica.work()
    assert (uid in env.uids()) is (where == FILTERS)  # otherwise, it takes over again
    env.clock.advance(1)
    replica.work()
    assert uid in env.uids() & env.passing_at("default")
    assert len(env.terms()) == 1
    assert "note" not in env.api.objects[SHARD_PATHS[where]]["metadata"]["annotations"]


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_after_a_write_that_failed_in_part_both_objects_are_right(
    env: WatchEnv, written: int
) -> None:
    """A credential that is deleted before the next attempt: what remains looks unchanged."""
    replica = env.leader()
    replica.lease.attempt()
    uid = env.create()
    replica.observer.list_all()
    env.api.fails_after = written
    replica.controller.step()
    env.api.fails_after = None
    env.delete(uid)
    env.clock.advance(1)
    replica.work()
    assert uid not in env.passing(env.clock.unix())


def test_a_part_that_the_api_server_refuses_holds_up_no_other(env: WatchEnv) -> None:
    one, other, stays = (env.create() for _ in range(3))
    replica = env.leader()
    env.api.refuses.add(SHARDS[1])
    for uid in (one, other):
        env.delete(uid)
    replica.work()
    assert env.uids() == {one, stays}
    assert SHARDS[1] in replica.controller.problems()["publish"]
    until = env.clock.unix() + 2 * CLOSE_AFTER
    while env.clock.unix() < until:
        env.clock.advance(5)
        replica.work()
        assert stays in env.passing(env.clock.unix())
    assert one not in env.passing(env.clock.unix())
    env.api.refuses.clear()
    env.clock.advance(BACKOFF.longest_seconds)
    replica.work()
    assert env.uids() == {stays}


def test_a_write_whose_answer_is_lost_is_repeated(env: WatchEnv) -> None:
    replica = env.leader()
    replica.lease.attempt()
    uid = env.create()
    replica.observer.list_all()
    env.api.loses_answers = 1
    replica.controller.step()
    env.delete(uid)
    env.clock.advance(1)
    replica.work()
    assert uid not in env.passing(env.clock.unix())


def test_a_failed_publication_is_reported_and_repeated(env: WatchEnv) -> None:
    replica = env.leader()
    replica.lease.attempt()
    uid = env.create()
    replica.observer.list_all()
    env.api.fails_after = 0
    replica.controller.step()
    check(replica.controller.problems()["publish"], reason="not-published")
    env.api.fails_after = None
    replica.controller.step()
    assert uid not in env.uids()
    env.clock.advance(1)
    replica.work()
    assert uid in env.uids()
    assert len(replica.problems("publish")) == 2
    assert replica.problems("publish")[1] == ""


def test_missing_objects_are_created_closed_before_anything_is_listed(
    env: WatchEnv,
) -> None:
    replica = env.replica("one")
    replica.turn()
    assert replica.state is State.LISTING
    assert [shard.closes_unix for shard in env.filtered()] == [0, 0, 0, 0]
    assert set(env.published().shards) == {CLOSED_SHARD}


@pytest.mark.parametrize(
    "changed", [{"entries": "x"}, {"closesAt": "9999-12-31T23:59:59-14:00"}, {"closesAt": "0001"}]
)
def test_an_unreadable_part_counts_as_closed_and_is_written(
    env: WatchEnv, changed: dict[str, str]
) -> None:
    uid = env.create()
    env.leader().lease.stop()
    path = f"{CONFIG_MAPS}{SHARDS[1]}"
    data = env.api.objects[path]["data"]
    env.api.put(path, {**env.api.objects[path], "data": {**data, **changed}})
    new = env.replica("two")
    new.work()
    assert uid in env.uids()


def test_keys_are_published_again_when_they_change_and_by_a_new_leader(
    env: WatchEnv,
) -> None:
    replica = env.leader()
    first, second = (json.loads(Signer(name).jwks)["keys"] for name in ("a", "b"))
    for keys in (first, [*first, *second], second):
        replica.keys = SigningKeys(issuer="issuer", key_set=json.dumps({"keys": keys}))
        env.written()
        replica.work()
        assert env.written() == [GATE_KEYS]
        found = json.dumps(env.api.objects[f"{FILTERS}{GATE_KEYS}"])
        assert all((each["n"] in found) is (each in keys) for each in [*first, *second])
    replica.lease.stop()
    new = env.replica("two")
    new.work()
    assert term_of(env.api.objects[f"{FILTERS}{GATE_KEYS}"]) == 2


def test_a_denial_is_published_first_and_ends_with_its_time(env: WatchEnv) -> None:
    uid = env.create()
    replica = env.leader()
    until = env.clock.unix() + 50
    env.cluster.denials = (Denial(kind=DeniedKind.TOKEN, name="t1", until_unix=until),)
    env.delete(uid)
    env.create()
    env.written()
    replica.work()
    assert env.denied() == {"jti.t1"}
    assert env.written()[-2:] == [SHARDS[2], SHARDS[2]]
    assert replica.logged(WatchEvent.DENIED) == [{"key": "jti.t1"}]
    env.clock.advance(51)
    replica.turn()
    assert env.denied() == set()


def test_what_is_left_out_is_reported(env: WatchEnv) -> None:
    replica = env.leader()
    for count in (1, 2, 0, 3, 4):
        env.clock.advance(1)
        replica.observer.left_out = {"red": count} if count else {}
        replica.work()
    why, over, again = replica.problems("leftOut")
    check(why, "red", reason="left-out")
    assert (over, again) == ("", why)


@pytest.mark.parametrize("ahead", [11.0, -11.0])
def test_a_clock_that_differs_from_the_api_servers_is_reported(env: WatchEnv, ahead: float) -> None:
    replica = env.leader()
    assert replica.controller.problems() == {}
    replica.cluster.clock_ahead_seconds = ahead
    replica.work()
    check(replica.problems("clock")[0], reason="clock")
    replica.cluster.clock_ahead_seconds = 9.0
    replica.work()
    assert replica.problems("clock")[1:] == [""]


def test_publishing_once_takes_everything_and_all_parts_at_once(env: WatchEnv) -> None:
    uids = {env.create() for _ in range(4)}
    replica = env.replica("one")
    replica.lease.attempt()
    replica.observer.sync()
    assert replica.controller.publish_once()
    assert env.uids() == uids
    assert f"{FILTERS}{GATE_KEYS}" in env.api.objects


@pytest.mark.parametrize("every", [CLOSE_AFTER / 10, CLOSE_AFTER / 2])
def test_publishing_once_now_and_then_leaves_no_time_in_which_the_gate_is_closed(
    env: WatchEnv, every: float
) -> None:
    uid = env.create()
    for run in range(8):
        assert run == 0 or uid in env.passing(env.clock.unix())
        replica = env.replica(f"run-{run}")
        replica.lease.attempt()
        replica.observer.sync()
        assert replica.controller.publish_once()
        replica.lease.stop()
        latest = env.clock.unix() + CLOSE_AFTER
        assert {shard.closes_unix for shard in env.published().shards} == {int(latest)}
        env.clock.advance(every)


def test_publishing_once_what_was_not_listed_publishes_nothing(env: WatchEnv) -> None:
    replica = env.replica("one")
    replica.lease.attempt()
    assert not replica.controller.publish_once()


@pytest.fixture
def slow(env: WatchEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write takes 0.1 s: a shard has two, and a round lasts until 0.25 s have passed."""
    handle = env.api.handle_request

    def slowly(request: Any) -> Any:
        if request.method != "GET":
            env.clock.advance(0.1)
        return handle(request)

    monkeypatch.setattr(env.api, "handle_request", slowly)


@pytest.mark.usefixtures("slow")
def test_a_round_ends_in_time_so_that_istiod_delivers_it(env: WatchEnv) -> None:
    gone = [env.create() for _ in range(4)]
    replica = env.leader()
    env.written()
    for uid in gone:
        env.delete(uid)
    replica.observer.list_all()
    assert replica.controller.step()
    first = env.written()
    assert replica.controller.step()
    second = env.written()
    assert (len(first), len(second)) == (4, 4)
    assert {*first, *second} == set(SHARDS)


@pytest.mark.usefixtures("slow")
def test_a_namespace_in_which_much_changes_delays_no_other_for_long(env: WatchEnv) -> None:
    red = [env.create("red") for _ in range(4)]
    blue = env.create("blue")  # in shard 1
    replica = env.leader()

    def churn() -> None:
        for uid in red:
            env.delete(uid)
        red[:] = [env.create("red") for _ in range(4)]
        replica.observer.list_all()
        env.written()
        assert replica.controller.step()

    churn()
    env.delete(blue)
    churn()
    churn()  # two shards each time, so that all four are written
    assert blue not in env.uids()


def test_after_each_failure_the_next_attempt_comes_later(
    env: WatchEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = env.leader()
    env.create()
    replica.observer.list_all()
    read: set[float] = set()
    handle = env.api.handle_request

    def noting(request: Any) -> Any:
        if request.method == "GET" and request.url.path.startswith(CONFIG_MAPS):
            read.add(env.clock.monotonic())
        return handle(request)

    monkeypatch.setattr(env.api, "handle_request", noting)
    for _ in range(80):
        env.clock.advance(0.5)
        env.api.fails_after = 1  # the lease
        replica.turn()
    seconds = [later - earlier for earlier, later in pairwise(sorted(read))]
    assert seconds[:5] == [2, 4, 8, 10, 10]
