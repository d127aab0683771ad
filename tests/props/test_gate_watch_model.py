"""Two replicas of the watch of two gates, and all that goes wrong around them, against what exists.

Two invariants hold. No token passes whose Secret does not exist, later than `closeAfter` after a
watch has last seen it. And once nothing fails any more, every token passes whose Secret exists.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from daypass.gate.watch.cluster_publisher import term_of
from unit.gate.watch_replicas import (
    CLOSE_AFTER,
    CONFIG_MAPS,
    FILTERS,
    GATES,
    LEASE,
    OTHER_FILTERS,
    FewShards,
    Replica,
    WatchEnv,
)
from unit.kube.objects_api import ObjectsApi

NAMES = ("one", "two")
ROUNDING_SECONDS = 2
"""Closing times are whole seconds, and so is the smallest step back of a clock that counts."""
STEP_SECONDS = 30.0
WHO = st.sampled_from(NAMES)
WHERE = st.sampled_from(["red", "blue"])
ANY = st.integers(0, 99)


Fault: TypeAlias = Callable[[ObjectsApi], None]


def heal(api: ObjectsApi) -> None:
    api.fails, api.fails_after, api.loses_answers = False, None, 0


def fail(api: ObjectsApi) -> None:
    api.fails = True


def fail_later(writes: int) -> Fault:
    def fault(api: ObjectsApi) -> None:
        api.fails_after = writes

    return fault


def lose_an_answer(api: ObjectsApi) -> None:
    api.loses_answers = 1


FAULTS = st.one_of(
    st.just(heal), st.just(heal), st.sampled_from([heal, fail, lose_an_answer]),
    st.integers(0, 6).map(fail_later),
)  # fmt: skip


class WatchModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.env = WatchEnv()
        self.replicas = {name: self.env.replica(name) for name in NAMES}
        self.ahead = 0.0
        self.saved: dict[str, Any] = {}
        self.terms: dict[str, int] = {}
        self.may_shift_clocks = False

    @initialize(may_shift_clocks=st.sampled_from([False, False, True]))
    def begin(self, may_shift_clocks: bool) -> None:
        self.may_shift_clocks = may_shift_clocks

    # What exists.

    @rule(namespace=WHERE)
    def create(self, namespace: str) -> None:
        self.env.create(namespace)

    @rule(number=ANY)
    def delete(self, number: int) -> None:
        if found := self._existing():
            self.env.delete(found[number % len(found)].partition("/")[0])

    @rule(number=ANY)
    def give_to_another_account(self, number: int) -> None:
        """A Secret is of another ServiceAccount from now on: no longer the first one's."""
        if found := self._existing():
            self.env.create_for_other(found[number % len(found)].partition("/")[0])

    def _existing(self) -> list[str]:
        return sorted(it for them in self.env.cluster.namespaces.values() for it in them)

    @rule(namespace=WHERE, is_role=st.booleans())
    def lose_or_get_label_or_role(self, namespace: str, is_role: bool) -> None:
        cluster = self.env.cluster
        (cluster.forbidden if is_role else cluster.labelled).symmetric_difference_update(
            {namespace}
        )

    @rule(code=st.sampled_from([None, 403, 404, 500]))
    def lose_or_get_back_a_gateway(self, code: int | None) -> None:
        self.env.api.denies = {} if code is None else {OTHER_FILTERS: code}

    # What a replica sees and does. What it does not see is lost.

    @rule(
        name=WHO, seconds=st.sampled_from([0.0, 60.0, 240.0, 450.0]), sees=st.sets(WHERE),
        gets_events=st.booleans(), fault=FAULTS,
    )  # fmt: skip
    def work(
        self, name: str, seconds: float, sees: set[str], gets_events: bool, fault: Fault
    ) -> None:
        """A replica works for a while, and may list, or get events of, only some namespaces."""
        replica = self.replicas[name]
        fault(self.env.api)
        for _ in range(1 + round(seconds / STEP_SECONDS)):
            replica.observer.list_cluster()
            for namespace in ("red", "blue"):
                if namespace in sees:
                    replica.observer.list_namespace(namespace)
                elif gets_events:
                    replica.observer.get_events(namespace)
            replica.turn()
            self.nothing_passes_for_too_long()
            if seconds:
                self.env.clock.advance(STEP_SECONDS)
        heal(self.env.api)

    @rule(seconds=st.sampled_from([0.5, 11.0, 31.0, 250.0, 601.0]))
    def wait(self, seconds: float) -> None:
        self.env.clock.advance(seconds)

    @rule(name=WHO, is_clean=st.booleans())
    def restart(self, name: str, is_clean: bool) -> None:
        if is_clean:
            self.replicas[name].lease.stop()
        self.replicas[name] = self.env.replica(name)

    @rule(name=WHO, writes=st.integers(0, 4), number=ANY)
    def pause_in_a_write(self, name: str, writes: int, number: int) -> None:
        """Before one of its writes, time passes, something is deleted, and the other takes over."""
        (other,) = (self.replicas[each] for each in NAMES if each != name)

        def before(count: int) -> None:
            if count:
                self.env.api.meanwhile.append(lambda: before(count - 1))
                return
            self.delete(number)
            other.lease.attempt()
            self.env.clock.advance(11)
            for _ in range(2):
                other.work()
                self.env.clock.advance(1)
            self.no_earlier_leader_writes_after_a_later_one()

        self.env.create("red")
        self.replicas[name].lease.attempt()
        self.replicas[name].observer.list_all()
        self.env.api.meanwhile.append(lambda: before(writes))
        self.replicas[name].controller.step()
        self.env.api.meanwhile.clear()

    @rule(name=WHO, number=ANY, seconds=st.sampled_from([150.0, 250.0, 450.0]))
    def miss_a_deletion(self, name: str, number: int, seconds: float) -> None:
        """No namespace can be listed any more, and then nobody works."""
        self.delete(number)
        self.work(name, seconds, set(), gets_events=False, fault=heal)
        for _ in range(3):
            self.env.clock.advance(100)
            self.nothing_passes_for_too_long()

    @precondition(lambda self: self.may_shift_clocks)
    @rule(name=WHO, ahead=st.sampled_from([0.0, -3600.0, 300.0, 10_800.0]))
    def set_clock(self, name: str, ahead: float) -> None:
        self.replicas[name].clock.ahead = ahead
        self.ahead = max(self.ahead, ahead)

    # What others do to the objects.

    @rule(number=ANY)
    def delete_object(self, number: int) -> None:
        """One that is published, or the lease."""
        if paths := [*self._published_paths(), LEASE]:
            path = paths[number % len(paths)]
            self.env.api.objects.pop(path, None)
            self.terms.pop(path, None)

    @rule()
    def save(self) -> None:
        objects = self.env.api.objects.items()
        self.saved = copy.deepcopy(dict(objects))

    @precondition(lambda self: self.saved)
    @rule(number=ANY, everything=st.booleans())
    def restore(self, number: int, everything: bool) -> None:
        paths = sorted(self.saved)
        if everything:
            self.env.api.objects.clear()
        for path in paths if everything else [paths[number % len(paths)]]:
            self.env.api.put(path, self.saved[path])
            self.terms.pop(path, None)

    # What holds.

    @invariant()
    def nothing_passes_for_too_long(self) -> None:
        env = self.env
        late = ROUNDING_SECONDS + self.ahead
        for each in env.passing_credentials() - env.cluster.admitted:
            age = env.clock.monotonic() - env.cluster.seen_at[each]
            assert age <= CLOSE_AFTER + late, f"{each} passes {age} s after it was seen"

    @invariant()
    def no_earlier_leader_writes_after_a_later_one(self) -> None:
        for path in self._published_paths():
            term = term_of(self.env.api.objects[path])
            assert term >= self.terms.get(path, 0), path
            self.terms[path] = term

    @rule()
    def recover(self) -> None:
        """Nothing fails any more, for as long as a lost lease and a lost listing take."""
        env = self.env
        heal(env.api)
        env.api.denies.clear()
        env.cluster.labelled = set(env.cluster.namespaces)
        env.cluster.forbidden.clear()
        for replica in self.replicas.values():
            replica.clock.ahead = 0.0
        for _ in range(14):
            env.clock.advance(3.0)
            for replica in self.replicas.values():
                replica.work()
        self.ahead = 0.0
        now = env.clock.unix()
        shards = [*env.published().shards]
        admitted = env.cluster.admitted
        assert {it for shard in env.published().shards for it in shard.credentials} == admitted
        for gate in GATES:
            filtered = list(env.filtered(gate))
            content = [shard.credentials for shard in filtered]
            assert content == [shard.credentials for shard in env.published().shards]
            shards += filtered
        assert env.lacking() == set()
        assert env.passing_credentials() == admitted
        assert len(shards) == (1 + len(GATES)) * FewShards.shards
        assert all(now < shard.closes_unix <= now + CLOSE_AFTER + 1 for shard in shards)
        assert len([it for it in self.replicas.values() if _leads(it)]) == 1

    def teardown(self) -> None:
        self.recover()

    def _published_paths(self) -> list[str]:
        paths = (CONFIG_MAPS, FILTERS, OTHER_FILTERS)
        return [path for path in self.env.api.objects if path.startswith(paths)]


def _leads(replica: Replica) -> bool:
    return replica.controller.is_leader


TestWatchModel = WatchModel.TestCase
TestWatchModel.settings = settings(max_examples=12, stateful_step_count=25)
