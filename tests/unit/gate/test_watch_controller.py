"""Several replicas that publish, step by step, with a fake clock and an API server that fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass._core.kubernetes.labels import TERM
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
