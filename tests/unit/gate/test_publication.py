"""When a command may stop waiting for what gates have to publish."""

from __future__ import annotations

import pytest

from daypass._core.kubernetes import labels
from daypass.gate.deny import change_denial
from daypass.gate.publication import GateWait, find_room
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES
from daypass.rules.published import (
    CLUSTER_SHARDS,
    DENIALS,
    NAMES,
    Denial,
    DeniedKind,
    shard_name,
    shard_of,
)
from support.embedded import EmbeddedCluster
from support.lifecycle import Warnings
from support.messages import check
from unit.gate.stand_in_gates import StandInGate

UIDS = [f"{prefix}0000000-0000-4000-8000-000000000000" for prefix in "0f"]


@pytest.fixture
def embedded() -> EmbeddedCluster:
    embedded = EmbeddedCluster()
    embedded.make_namespace("team")
    return embedded


class Waited:
    """What a command does that waits for gates."""

    def __init__(self, embedded: EmbeddedCluster, *, gate_namespace: str | None = None) -> None:
        self.warnings = Warnings()
        self.gates = GateWait(embedded.cluster, 5, self.warnings, gate_namespace=gate_namespace)
        self._clock, self._began = embedded.clock, embedded.clock.monotonic()

    @property
    def took_seconds(self) -> float:
        return self._clock.monotonic() - self._began

    def has_failed(self, *shards: str) -> bool:
        """Whether it has failed, with one warning that has these shards."""
        (warning,) = self.warnings
        check(warning, *shards, reason="not-published")
        return self.gates.failed


@pytest.mark.parametrize(
    ("gone", "missing"), [(UIDS[:1], "deleted"), ([], "created")], ids=["gone", "there"]
)
def test_a_change_that_is_not_published_in_time_is_an_error(
    embedded: EmbeddedCluster, gone: list[str], missing: str
) -> None:
    StandInGate(embedded=embedded, delay_seconds=60, accounts=set(gone))
    waited = Waited(embedded)
    if gone:
        waited.gates.wait_removed(gone)
    else:
        waited.gates.wait_added(UIDS)
    assert waited.has_failed("waited 5s", "daypass", missing, "watch --once")
    assert waited.gates.exit_code == 3
    waited.gates.wait_removed(UIDS)
    assert waited.took_seconds < 6


@pytest.mark.parametrize("data", [None, {"entries": ""}, {"entries": "x", "closesAt": "now"}])
def test_a_part_that_is_missing_or_unreadable_shows_no_deletion(
    embedded: EmbeddedCluster, data: dict[str, str] | None
) -> None:
    gate = StandInGate(embedded=embedded, delay_seconds=60)
    name = shard_name(shard_of(UIDS[0], CLUSTER_SHARDS))
    embedded.cluster.delete(CONFIG_MAPS, name, gate.gate_namespace)
    if data is not None:
        metadata = {"name": name, "namespace": gate.gate_namespace}
        embedded.cluster.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        )
    waited = Waited(embedded)
    waited.gates.wait_removed(UIDS)
    assert waited.has_failed(f"all {len(NAMES)} shards" if data is None else name)


@pytest.mark.parametrize("kind", DeniedKind)
def test_a_denial_and_its_removal_are_waited_for_at_its_gate(
    embedded: EmbeddedCluster, kind: DeniedKind
) -> None:
    gate = StandInGate(embedded=embedded, delay_seconds=0.2)
    StandInGate(embedded=embedded, gate_namespace="other", delay_seconds=60)
    name = UIDS[0] if kind is DeniedKind.OBJECT else "a"
    denial = Denial(kind=kind, name=name, until_unix=embedded.clock.unix() + 60)
    waited = Waited(embedded)
    for undo in (False, True):
        change_denial(embedded.cluster, gate.gate_namespace, denial, undo=undo)
        waited = Waited(embedded, gate_namespace=gate.gate_namespace)
        waited.gates.wait_denied(denial, undo=undo)
        assert 0.2 <= waited.took_seconds < 0.5
        assert not waited.gates.failed
    embedded.cluster.delete(CONFIG_MAPS, DENIALS, gate.gate_namespace)
    waited.gates.wait_denied(denial, undo=True)
    assert waited.has_failed(f"all {len(NAMES)} shards")


def test_the_room_of_a_namespace_is_that_of_the_smallest_gate(embedded: EmbeddedCluster) -> None:
    assert find_room(embedded.cluster) is None
    StandInGate(embedded=embedded, gate_namespace="one", room=3)
    gate = StandInGate(embedded=embedded, gate_namespace="two", room=2)
    assert find_room(embedded.cluster) == 2
    embedded.cluster.patch(
        NAMESPACES, gate.gate_namespace, {"metadata": {"labels": {labels.GATE: None}}}
    )
    assert find_room(embedded.cluster) == 3
    embedded.forbidden.add("configmaps")
    assert find_room(embedded.cluster) is None
