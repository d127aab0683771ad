"""Mutants of the publisher, each of which has to be found by a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from daypass.gate.watch.cluster_publisher import ClusterPublisher
from daypass.gate.watch.controller import Controller
from daypass.gate.watch.plan import PartsPlanner, Urgency
from daypass.kube.cluster import Cluster
from support.watch_replicas import WatchEnvironment, plain_filters
from unit.gate import test_watch_controller as replicas
from unit.gate import test_watch_plan as plan

Mutate = Callable[[pytest.MonkeyPatch], None]


def skip_the_fence(patch: pytest.MonkeyPatch) -> None:
    """Write in place of any version."""
    request = Cluster.request

    def unfenced(self: Cluster, method: str, path: str, body: Any = None, **more: Any) -> Any:
        if isinstance(body, list):
            body = [each for each in body if not each["path"].endswith("/resourceVersion")]
        return request(self, method, path, body, **more)

    patch.setattr(Cluster, "request", unfenced)


def renew_what_was_not_listed(patch: pytest.MonkeyPatch) -> None:
    """Let a listing of the cluster renew every part, whichever namespaces it relies on."""
    patch.setattr(PartsPlanner, "_listed", lambda self, known, listed_at: [listed_at] * self._parts)


def add_before_removing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Urgency, "__lt__", lambda self, other: int(self) > int(other))


def go_on_after_an_error(patch: pytest.MonkeyPatch) -> None:
    """As if what was being written was not in force."""
    patch.setattr(Controller, "_fail", lambda self, error: None)


def publish_before_all_is_listed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Controller, "_is_ready", lambda self, observation, *, is_once: True)


def write_the_config_map_first(patch: pytest.MonkeyPatch) -> None:
    publish = ClusterPublisher._publish
    patch.setattr(ClusterPublisher, "_publish", lambda self, each: publish(self, each[::-1]))


def of_replicas(test: Callable[..., None], *arguments: object) -> Callable[[], None]:
    def run() -> None:
        with plain_filters():
            test(WatchEnvironment(), *arguments)

    return run


FOUND_BY: list[tuple[Mutate, Callable[[], None]]] = [
    (skip_the_fence, of_replicas(replicas.test_a_paused_leader_that_wakes_writes_nothing)),
    (
        renew_what_was_not_listed,
        plan.test_a_part_closes_after_the_oldest_listing_that_it_relies_on,
    ),
    (
        add_before_removing,
        of_replicas(
            replicas.test_only_what_changes_is_written_first_for_istio_and_removals_before_additions
        ),
    ),
    (
        go_on_after_an_error,
        of_replicas(replicas.test_after_a_write_that_failed_in_part_both_objects_are_right, 1),
    ),
    (
        publish_before_all_is_listed,
        of_replicas(
            replicas.test_a_new_leader_leaves_in_force_what_was_published_until_it_has_listed_all
        ),
    ),
    (
        write_the_config_map_first,
        of_replicas(replicas.test_what_the_config_map_says_of_a_deletion_is_in_the_filter_already),
    ),
]


@pytest.mark.parametrize(("mutate", "test"), FOUND_BY)
def test_a_test_finds_a_publisher_that_would(
    mutate: Mutate, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    test()
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        test()
