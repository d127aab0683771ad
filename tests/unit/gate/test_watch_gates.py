"""One watch that publishes at two gateways, of which one fails, step by step."""

from __future__ import annotations

import json

import pytest

from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.cluster_publisher import BACKOFF
from daypass.gate.watch.controller import State, WatchEvent
from daypass.kube.lease import DURATION_SECONDS
from daypass.render.names import GATE_KEYS
from daypass.rules.published import shard_name
from support.tokens import Signer
from support.watch_replicas import (
    CLOSE_AFTER,
    FILTERS,
    OTHER,
    OTHER_FILTERS,
    OTHER_FRONT,
    Replica,
    WatchEnv,
)

BOTH = ("default", OTHER)
OTHERS_NAMESPACE = f"/apis/networking.istio.io/v1alpha3/namespaces/{OTHER_FRONT}/"
FORBIDDEN, GONE, BROKEN = 403, 404, 500


@pytest.fixture
def env() -> WatchEnv:
    return WatchEnv(*BOTH)


def wait(env: WatchEnv, replica: Replica, seconds: float, step: float = 1.0) -> None:
    ends = env.clock.monotonic() + seconds
    while env.clock.monotonic() < ends:
        env.clock.advance(step)
        replica.work()


def at_both(env: WatchEnv) -> list[set[str]]:
    return [env.passing_at(gate) for gate in BOTH]


def test_a_gateway_that_is_lost_closes_in_its_time_and_delays_no_removal_elsewhere(
    env: WatchEnv,
) -> None:
    stays, *gone = (env.create() for _ in range(4))
    replica = env.leader()
    env.api.denies[OTHERS_NAMESPACE] = FORBIDDEN
    for uid in gone:
        env.delete(uid)
        replica.work()  # at once, and not after a pause
        assert uid not in env.passing_at("default") | env.uids()
        assert uid in env.passing_at(OTHER)
    assert env.lacking() == {OTHER}
    wait(env, replica, CLOSE_AFTER, step=10)
    assert at_both(env) == [{stays}, set()]
    env.api.denies.clear()
    wait(env, replica, BACKOFF.longest_seconds + 1)
    assert at_both(env) == [{stays}] * 2


def test_a_namespace_that_is_restored_with_what_was_deleted_lets_it_pass_no_longer_than_a_look(
    env: WatchEnv,
) -> None:
    gone, stays = env.create(), env.create()
    replica = env.leader()
    before = {
        path: json.loads(json.dumps(it))
        for path, it in env.api.objects.items()
        if path.startswith(OTHER_FILTERS)
    }
    env.delete(gone)
    replica.work()
    for path, document in before.items():
        env.api.put(path, document)
    assert gone in env.passing_at(OTHER)
    wait(env, replica, 10)
    assert at_both(env) == [{stays}] * 2
    assert replica.controller.problems() == {}


def test_a_leader_that_takes_over_without_one_gateway_leaves_the_other_as_it_is(
    env: WatchEnv,
) -> None:
    uid = env.create()
    env.leader().lease.stop()
    env.api.denies[OTHERS_NAMESPACE] = GONE
    new = env.replica("two")
    env.written()
    new.work()
    assert new.state is State.PUBLISHING
    assert uid in env.passing_at("default")
    assert not [name for name in env.written() if name.endswith(OTHER)]
    env.api.denies.clear()
    wait(env, new, BACKOFF.longest_seconds + 1)
    assert at_both(env) == [{uid}] * 2
    assert env.terms() == {2}


def test_a_second_gate_leaves_no_time_in_which_the_first_is_closed(env: WatchEnv) -> None:
    first = WatchEnv("default")
    uid = first.create()
    old = first.leader()
    first.gates = BOTH
    new = first.replica("two")
    uids = {uid}

    def goes_on(replica: Replica) -> None:
        replica.turn()
        assert uids <= first.passing_at("default") & first.uids()

    goes_on(new)
    old.lease.stop()
    goes_on(new)  # it leads, and has listed nothing
    assert new.state is State.LISTING
    assert first.passing_at(OTHER) == set()
    new.observer.list_all()
    goes_on(new)
    assert at_both(first) == [uids] * 2


def test_an_object_that_is_refused_holds_up_neither_its_gateway_nor_the_other(
    env: WatchEnv,
) -> None:
    refused, other = env.create(), env.create()
    replica = env.leader()
    env.api.refuses.add(f"{shard_name(1)}.{OTHER}")
    for uid in (refused, other):
        env.delete(uid)
    replica.work()
    assert at_both(env) == [set(), {refused}]
    assert env.lacking() == {OTHER}
    assert [len(each.lacking) for each in replica.publisher.gateways] == [0, 1]
    wait(env, replica, CLOSE_AFTER, step=10)
    assert at_both(env) == [set()] * 2


def test_a_paused_leader_that_wakes_writes_nothing_at_any_gateway(env: WatchEnv) -> None:
    uid = env.create()
    old = env.leader()
    new = env.replica("two")
    new.work()

    def sleeps() -> None:
        env.delete(uid)
        new.work()
        env.clock.advance(DURATION_SECONDS + 1)
        new.work()
        env.written()

    late = env.create()
    old.observer.list_all()
    old.lease.attempt()
    env.api.meanwhile.append(sleeps)  # before the write at the first gateway
    old.controller.step()
    assert env.written() == []
    assert old.state is State.FOLLOWER
    assert env.terms() == {2}
    new.work()
    assert at_both(env) == [{late}] * 2


def test_keys_reach_a_gateway_once_it_can_be_written_again(env: WatchEnv) -> None:
    replica = env.leader()
    env.api.denies[OTHERS_NAMESPACE] = FORBIDDEN
    replica.keys = SigningKeys(issuer="issuer", key_set=Signer("two").jwks)
    replica.work()
    assert replica.logged(WatchEvent.KEYS)
    keys = [f"{FILTERS}{GATE_KEYS}", f"{OTHER_FILTERS}{GATE_KEYS}.{OTHER}"]
    ((new,), (old,)) = ([json.dumps(env.api.objects[path]["spec"])] for path in keys)
    assert new != old
    env.api.denies.clear()
    wait(env, replica, BACKOFF.longest_seconds + 1)
    for path in keys:
        (modulus,) = (each["n"] for each in json.loads(replica.keys.key_set)["keys"])
        assert modulus in json.dumps(env.api.objects[path])
