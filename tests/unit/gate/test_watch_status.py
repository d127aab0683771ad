"""What a watch reports of itself to probes, to Prometheus and to an administrator."""

from __future__ import annotations

import json

import pytest

from daypass.gate.watch.controller import WatchStatus
from daypass.gate.watch.schedule import Observation
from daypass.rules.published import LIMIT_DENIALS, Denial, DeniedKind
from support.messages import check
from unit.gate.watch_replicas import CLOSE_AFTER, OTHER, OTHER_FILTERS, Replica, WatchEnv


@pytest.fixture
def env() -> WatchEnv:
    return WatchEnv()


def ask(replica: Replica, path: str) -> tuple[int, str]:
    return WatchStatus(replica.controller, replica.clock).routes[path]()


def problems(replica: Replica) -> tuple[int, set[str]]:
    code, text = ask(replica, "/status")
    return code, set(json.loads(text)["problems"])


def metrics(replica: Replica) -> dict[str, float]:
    lines = [each for each in ask(replica, "/metrics")[1].splitlines() if each[0] != "#"]
    return {name: float(value) for name, value in (line.split() for line in lines)}


def test_a_replica_is_ready_once_it_has_listed_everything_and_not_without_listings(
    env: WatchEnv,
) -> None:
    replica = env.replica("one")
    assert ask(replica, "/readyz")[0] == 503
    replica.work()
    assert (ask(replica, "/readyz")[0], ask(replica, "/status")[0]) == (200, 200)
    env.clock.advance(CLOSE_AFTER)
    assert ask(replica, "/readyz")[0] == 503
    assert problems(replica) == (503, {"closed"})
    assert ask(replica, "/healthz")[0] == 200


def test_what_an_administrator_has_to_do_is_named(env: WatchEnv) -> None:
    replica = env.leader()
    env.cluster.forbidden.add("blue")
    replica.observer.left_out = {"red": 3}
    replica.observer.list_all()
    env.create()
    env.api.fails_after = 1  # the lease
    replica.cluster.clock_ahead_seconds = 11.0
    replica.work()
    found_problems = replica.controller.problems()
    for kind, reason in (
        ("namespaces", "namespaces"), ("leftOut", "left-out"), ("publish", "not-published"),
        ("clock", "clock"),
    ):  # fmt: skip
        check(found_problems.pop(kind), reason=reason)
    assert found_problems == {}
    assert ask(replica, "/status")[0] == 503
    assert ask(replica, "/readyz")[0] == 503
    found = metrics(replica)
    assert found["daypass_gate_watch_healthy"] == 0
    assert found["daypass_gate_watch_credentials_left_out"] == 3
    assert found["daypass_gate_watch_namespaces_unwatched"] == 1
    replica.cluster.clock_ahead_seconds = -11.0
    replica.work()
    check(replica.controller.problems()["clock"], reason="clock")


def test_each_reason_is_reported_with_its_own_namespaces() -> None:
    unwatched = {"red": "too large", "blue": "forbidden", "green": "too large"}
    lines = Observation(unwatched=unwatched).problems()["namespaces"].splitlines()
    named = [line.rpartition(": ")[2] for line in lines[::2]]
    assert dict(zip(lines[1::2], named, strict=True)) == {
        "forbidden": "blue", "too large": "green, red"
    }  # fmt: skip


def test_a_gate_that_lacks_something_is_named_and_the_watch_is_still_ready(
    env: WatchEnv,
) -> None:
    env.api.denies[OTHER_FILTERS] = 403
    replica = env.leader()
    assert ask(replica, "/readyz")[0] == 200
    assert problems(replica) == (503, {"gates"})
    assert f"the gate {OTHER} " in ask(replica, "/status")[1]
    found = metrics(replica)
    assert found['daypass_gate_watch_lacking{gate="default"}'] == 0
    assert found[f'daypass_gate_watch_lacking{{gate="{OTHER}"}}'] > 4  # shards, denials, keys
    assert found["daypass_gate_watch_healthy"] == 0


def test_a_gate_that_too_many_denials_close_is_a_problem(env: WatchEnv) -> None:
    until = env.clock.unix() + 50
    env.cluster.denials = tuple(
        Denial(kind=DeniedKind.TOKEN, name=str(number), until_unix=until)
        for number in range(LIMIT_DENIALS + 1)
    )
    replica = env.leader()
    assert problems(replica) == (503, {"closed"})
    env.cluster.denials = ()
    replica.work()
    assert problems(replica) == (200, set())
