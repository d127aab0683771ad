"""Entries that move between the parts of a published list are never missing for a gateway.

The parts reach the gateway separately, in any order, and intermediate versions may never arrive.
So an entry that stays on the list is in the same part for a while, wherever a publication stops.
"""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from daypass.gate.decision import SKEW_SECONDS
from daypass.gate.revocation.publishers import ClusterPublisher, publisher_of
from daypass.gate.revocation.revocation_list import (
    COMPACT_SECONDS,
    COMPACT_SOON_SECONDS,
    ObjectKind,
    RevocationList,
)
from daypass.kube.errors import ClusterUnreachableError
from support.objects_api import ObjectsApi
from support.timing import FakeClock
from support.watching import watched_config

LONGEST = 3600
CONFIG = watched_config()
Parts = dict[str, set[str]]


class World:
    """A controller and commands that publish, each possibly interrupted."""

    def __init__(self) -> None:
        self.clock, self.api = FakeClock(), ObjectsApi()
        self.deleted_at: dict[str, float] = {}
        self.number = 0
        self.record = json.dumps(self.denials().record())
        self.seen: list[tuple[float, Parts]] = [(0, {})]
        self.begin()

    def denials(self) -> RevocationList:
        return RevocationList(LONGEST, recent_limit=4)

    def publisher(self) -> ClusterPublisher:
        gate = CONFIG.gate
        assert gate is not None
        return publisher_of(self.api.cluster(self.clock), CONFIG, gate)

    def begin(self) -> None:
        """Start a new controller, which reads the record and sees which objects are gone."""
        self.watch, self.publishes, self.is_in_force = self.denials(), self.publisher(), False
        self.merge()
        for uid in self.refused():
            self.watch.gone(ObjectKind.SECRET, uid, "team", self.deleted_at[uid])

    def merge(self) -> None:
        record, self.is_changed = json.loads(self.record), False
        self.watch.merge(record, self.clock.unix(), lambda kind, namespace: True)

    def delete(self) -> None:
        uid = f"uid-{len(self.deleted_at)}"
        self.deleted_at[uid] = self.clock.unix()
        self.watch.gone(ObjectKind.SECRET, uid, "team", self.clock.unix())

    def publish(self, writes: int) -> None:
        """Publish; after `writes` writes the API server is unreachable."""
        if self.is_changed:
            self.merge()
        self.watch.compact(self.clock.unix(), is_in_force=self.is_in_force)
        self.is_in_force = self.put(self.watch, self.publishes, writes)

    def publish_by_command(self, writes: int) -> None:
        """The same by a command that deletes an object and watches nothing."""
        command = self.denials()
        command.merge(json.loads(self.record), 0, lambda kind, namespace: False)
        uid = f"uid-{len(self.deleted_at)}"
        self.deleted_at[uid] = self.clock.unix()
        command.gone(ObjectKind.SECRET, uid, "team", self.clock.unix())
        self.put(command, self.publisher(), writes)
        self.is_changed = True

    def put(self, denials: RevocationList, publisher: ClusterPublisher, writes: int) -> bool:
        self.number += 1
        self.record = json.dumps(denials.record())
        revoked = denials.revoked(self.clock.unix(), closed=False)
        self.api.fails_after = writes
        try:
            publisher.publish(revoked, heard_unix=0, number=self.number)
        except ClusterUnreachableError:
            return False
        finally:
            self.api.fails_after = None
            self.seen.append((self.clock.unix(), self.parts()))
        return True

    def parts(self) -> Parts:
        return {
            path: set(re.findall(r"uid-\d+", json.dumps(found)))
            for path, found in self.api.objects.items()
        }

    def refused(self) -> set[str]:
        """The UIDs that must be refused now."""
        now = self.clock.unix()
        return {u for u, at in self.deleted_at.items() if now < at + LONGEST + SKEW_SECONDS}


steps = st.one_of(
    st.tuples(st.sampled_from(["delete", "restart"]), st.just(0)),
    st.tuples(st.sampled_from(["publish", "command"]), st.integers(0, 4)),
    st.tuples(st.just("publish"), st.just(4)),
    st.tuples(
        st.just("later"), st.sampled_from([1, COMPACT_SOON_SECONDS, COMPACT_SECONDS, LONGEST])
    ),
)


WAIT = ("later", COMPACT_SECONDS)
FIRST = [("publish", 4), ("delete", 0), ("publish", 4), WAIT]


@example([*FIRST, ("publish", 0), WAIT, ("publish", 4)])
@example([*FIRST, ("publish", 0), ("restart", 0), WAIT, ("publish", 4), WAIT, ("publish", 4)])
@given(st.lists(steps, max_size=40))
def test_an_entry_is_always_in_at_least_one_published_part(happened: list[tuple[str, int]]) -> None:
    world = World()
    for what, argument in happened:
        if what == "delete":
            world.delete()
        elif what == "restart":
            world.begin()
        elif what == "publish":
            world.publish(argument)
        elif what == "command":
            world.publish_by_command(argument)
        else:
            world.clock.advance(argument)
        refused, (_, after) = world.refused(), world.seen[-1]
        recent = [
            parts for at, parts in world.seen if world.clock.unix() - at < COMPACT_SOON_SECONDS
        ]
        for before in [*(parts for _, parts in world.seen[-2:]), *recent]:
            for uid in refused & set().union(*before.values()):
                assert any(uid in after[path] for path in before if uid in before[path]), uid
    world.publish(4)
    assert world.refused() <= set().union(*world.parts().values())
