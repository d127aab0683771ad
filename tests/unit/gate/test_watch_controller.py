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
from unit.gate.watch_replicas import (
    CLOSE_AFTER,
    CONFIG_MAPS,
    FILTERS,
    GATES,
    OTHER,
    OTHER_FILTERS,
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
    assert {name.partition(".")[0] for name in env.written()} <= {*SHARDS, DENIALS}


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


def test_the_whole_set_is_renewed_in_time(env: WatchEnv) -> None:
    uid = env.create()
    replica = env.leader()
    env.written()
    most = 0
    for _ in range(600):
        env.clock.advance(2.0)
        replica.work()
        most = max(most, len(env.written()))
        assert uid in env.passing()
        assert min(shard.closes_unix for shard in env.published().shards) > env.clock.unix() + 60
    assert most == 3 * (len(SHARDS) + 1)


def test_a_clock_that_is_ahead_of_the_api_servers_makes_nothing_valid_for_longer(
    env: WatchEnv,
) -> None:
    uid = env.create()
    replica = env.replica("one")
    replica.clock.ahead = replica.cluster.clock_ahead_seconds = 3 * 3600
    replica.work()
    assert {shard.closes_unix for shard in env.filtered()} == {int(env.clock.unix() + CLOSE_AFTER)}
    assert replica.state is State.PUBLISHING
    assert uid in env.passing()
    env.clock.advance(CLOSE_AFTER)
    assert uid not in env.passing()


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


def test_a_leader_that_lost_its_lease_leaves_the_rest_of_a_round(env: WatchEnv) -> None:
    replica = env.leader()
    for _ in range(4):
        env.create()
    replica.observer.list_all()
    env.written()
    env.api.meanwhile.append(lambda: env.clock.advance(RENEW_WITHIN_SECONDS))
    replica.controller.step()
    assert {name.partition(".")[0] for name in env.written()} == {SHARDS[0]}


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
    check(replica.problem(kind), SHARD_PATHS[where], reason="changed")
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


def test_an_object_that_is_refused_holds_up_neither_its_gateway_nor_the_other(
    env: WatchEnv,
) -> None:
    refused, other = env.create(), env.create()
    replica = env.leader()
    env.api.refuses.add(f"{SHARDS[1]}.{OTHER}")
    for uid in (refused, other):
        env.delete(uid)
    replica.work()
    assert [env.passing_at(gate) for gate in GATES] == [set(), {refused}]
    assert env.lacking() == {OTHER}
    for _ in range(60):
        env.clock.advance(CLOSE_AFTER / 60)
        replica.work()
    assert env.passing_at(OTHER) == set()


def test_a_leader_that_takes_over_without_one_gateway_publishes_at_the_other(
    env: WatchEnv,
) -> None:
    uid = env.create()
    env.leader().lease.stop()
    env.api.denies[OTHER_FILTERS] = 404
    env.delete(uid)
    new = env.replica("two")
    new.work()
    assert new.state is State.PUBLISHING
    assert uid not in env.passing_at("default") | env.uids()
    assert uid in env.passing_at(OTHER)


def test_missing_objects_are_created_closed_before_anything_is_listed(
    env: WatchEnv,
) -> None:
    replica = env.replica("one")
    replica.turn()
    assert replica.state is State.LISTING
    assert [shard.closes_unix for shard in env.filtered()] == [0, 0, 0, 0]
    assert set(env.published().shards) == {CLOSED_SHARD}


def test_an_unreadable_part_counts_as_closed_and_is_written(env: WatchEnv) -> None:
    uid = env.create()
    env.leader().lease.stop()
    path = f"{CONFIG_MAPS}{SHARDS[1]}"
    env.api.put(path, {**env.api.objects[path], "data": {"entries": "x"}})
    new = env.replica("two")
    new.work()
    assert uid in env.uids()


def test_changed_keys_reach_each_gateway_once_it_can_be_written(env: WatchEnv) -> None:
    replica = env.leader()
    env.api.denies[OTHER_FILTERS] = 403
    replica.keys = SigningKeys(issuer="issuer", key_set=Signer("two").jwks)
    (key,) = json.loads(replica.keys.key_set)["keys"]

    def have_it() -> list[bool]:
        paths = f"{FILTERS}{GATE_KEYS}", f"{OTHER_FILTERS}{GATE_KEYS}.{OTHER}"
        return [key["n"] in json.dumps(env.api.objects[path]) for path in paths]

    replica.work()
    assert have_it() == [True, False]
    env.api.denies.clear()
    env.clock.advance(BACKOFF.longest_seconds + 1)
    replica.work()
    assert have_it() == [True, True]


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
    assert env.written()[-1].startswith(SHARDS[2])
    assert replica.logged(WatchEvent.DENIED) == [{"key": "jti.t1"}]
    env.clock.advance(51)
    replica.turn()
    assert env.denied() == set()


@pytest.fixture
def slow(env: WatchEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write takes 0.1 s, and a round lasts until 0.25 s have passed."""
    handle = env.api.handle_request

    def slowly(request: Any) -> Any:
        if request.method != "GET":
            env.clock.advance(0.1)
        return handle(request)

    monkeypatch.setattr(env.api, "handle_request", slowly)


@pytest.mark.usefixtures("slow")
def test_a_namespace_in_which_much_changes_delays_no_other_for_long(env: WatchEnv) -> None:
    red = [env.create("red") for _ in range(4)]
    blue = env.create("blue")
    replica = env.leader()

    def churn() -> set[str]:
        for uid in red:
            env.delete(uid)
        red[:] = [env.create("red") for _ in range(4)]
        replica.observer.list_all()
        env.written()
        assert replica.controller.step()
        return {name.partition(".")[0] for name in env.written()}

    churn()
    env.delete(blue)
    rounds = [churn() for _ in SHARDS]
    assert all(len(each) < len(SHARDS) for each in rounds), "a round ends in time for istiod"
    assert blue not in env.uids() | env.passing_at("default")
