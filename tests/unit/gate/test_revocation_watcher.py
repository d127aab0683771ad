"""Watches per identity namespace: start, end, and namespaces that can't be watched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from daypass.gate.revocation.revocation_list import ObjectKind
from daypass.gate.revocation.watcher import PerNamespaceInformers, RevocationWatcher, Scope

from daypass._core.labels import MANAGED_BY, MANAGER, POLICY, POLICY_ENFORCED
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.testing.clock import MovableClock
from support.deadline import eventually
from support.watched_api import WatchedApi, cluster_of

CLOSE_AFTER = 600
LABELS = {POLICY: POLICY_ENFORCED}
SCOPE = Scope(denials_namespace="daypass", each_namespace=True)


class Running:
    def __init__(self, api: WatchedApi, scope: Scope = SCOPE) -> None:
        self.api, self.clock = api, MovableClock()
        self.watcher = RevocationWatcher(
            cluster_of(api), self.clock, scope, longest_lifetime_seconds=3600,
            close_after_seconds=CLOSE_AFTER,
        )  # fmt: skip

    @contextmanager
    def started(self) -> Iterator[None]:
        self.watcher.start()
        try:
            yield
        finally:
            self.watcher.stop()

    def eventually_is(self, **expected: object) -> RevocationSnapshot:
        def matching() -> RevocationSnapshot | None:
            now = self.watcher.revoked()
            return now if all(getattr(now, k) == v for k, v in expected.items()) else None

        return eventually(f"it is {expected}", matching)


def add_namespace(api: WatchedApi, name: str, *, labelled: bool = True) -> None:
    api.put("namespaces", name, name=name, namespace="", labels=LABELS if labelled else {})


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running(WatchedApi())
    for name in ("team", "other"):
        add_namespace(made.api, name)
    add_namespace(made.api, "plain", labelled=False)
    made.api.put("secrets", "s-1")
    made.api.put("secrets", "s-2", namespace="other")
    made.api.put("serviceaccounts", "a-1")
    with made.started():
        made.eventually_is(watched_namespaces={"team", "other"})
        yield made


def test_secrets_are_watched_only_in_identity_namespaces_and_without_their_data(
    running: Running,
) -> None:
    secrets = [r for r in list(running.api.asked) if r.url.path.endswith("secrets")]
    watched = {f"/api/v1/namespaces/{name}/secrets" for name in ("team", "other")}
    assert {request.url.path for request in secrets} == watched
    assert all("PartialObjectMetadata" in r.headers["accept"] for r in secrets)
    assert all("type=kubernetes.io" in r.url.params["fieldSelector"] for r in secrets)


def test_a_namespace_is_watched_once_it_is_labelled(running: Running) -> None:
    add_namespace(running.api, "plain")
    running.eventually_is(watched_namespaces={"team", "other", "plain"})


def test_a_namespace_without_the_label_is_not_watched_and_its_secrets_are_not_deleted(
    running: Running,
) -> None:
    add_namespace(running.api, "team", labelled=False)
    running.eventually_is(watched_namespaces={"other"}, secrets=set())
    running.api.delete("secrets", "s-1")
    add_namespace(running.api, "team")
    running.eventually_is(watched_namespaces={"team", "other"}, secrets={"s-1"})


def test_deleting_a_namespace_revokes_everything_in_it(running: Running) -> None:
    running.api.forbidden.add("team")  # its Role is deleted too, so later events are not seen
    running.api.delete("namespaces", "team")
    running.eventually_is(watched_namespaces={"other"})
    running.api.forbidden.clear()
    add_namespace(running.api, "team")  # a new one with that name
    running.eventually_is(watched_namespaces={"team", "other"})
    assert "s-1" in running.watcher.record()["gone"]


def test_authorizers_get_what_was_deleted_with_a_namespace() -> None:
    """The API server accepts its tokens for some seconds more; a review then would be cached."""
    running = Running(WatchedApi(), replace(SCOPE, only_watched_namespaces=False))
    add_namespace(running.api, "team")
    running.api.put("secrets", "s-1")
    running.api.put("serviceaccounts", "a-1")
    with running.started():
        eventually("it is watched", lambda: "team" in running.watcher.watched_namespaces)
        running.api.delete("namespaces", "team")
        running.eventually_is(
            secrets={"s-1"}, service_accounts={"a-1"}, watched_namespaces=None, closed=False
        )
        assert not running.watcher.watched_namespaces


def test_a_namespace_deleted_during_an_outage_is_noticed(running: Running) -> None:
    running.api.fails = 0
    eventually("the failure is seen", lambda: running.watcher.last_error)
    running.api.delete("namespaces", "team")
    running.api.events.clear()
    running.api.forgotten = running.api.version
    running.api.fails = None
    running.eventually_is(watched_namespaces={"other"})
    assert "s-1" in running.watcher.record()["gone"]


def test_a_namespace_without_the_role_is_reported_and_not_watched(running: Running) -> None:
    running.api.put("serviceaccounts", "a-new", namespace="new", labels={MANAGED_BY: MANAGER})
    running.api.forbidden.update({"new", "left"})
    add_namespace(running.api, "left")  # its last identity is deleted, and the policy still applies
    add_namespace(running.api, "new")
    eventually("it is reported", lambda: running.watcher.unwatched_namespaces == {"new"})
    eventually(
        "the reason is reported", lambda: 'resources: ["secrets"]' in running.watcher.last_error
    )
    running.eventually_is(watched_namespaces={"team", "other"}, closed=False)
    assert running.watcher.is_settled
    running.api.forbidden.remove("new")
    running.eventually_is(watched_namespaces={"team", "other", "new"})


def test_a_namespace_that_loses_the_role_counts_as_watched_until_it_is_stale(
    running: Running,
) -> None:
    running.api.forbidden.add("team")
    eventually("the failure is seen", lambda: running.watcher.last_error)
    running.eventually_is(watched_namespaces={"team", "other"})
    running.clock.move(CLOSE_AFTER + 1)
    running.eventually_is(watched_namespaces={"other"}, closed=False)


def test_two_hundred_namespaces_are_watched(running: Running) -> None:
    names, before = {f"many-{number}" for number in range(200)}, threading.active_count()
    for name in names:
        running.api.put("secrets", f"s-{name}", namespace=name)
        add_namespace(running.api, name)
    running.eventually_is(watched_namespaces=names | {"team", "other"})
    running.api.delete("secrets", "s-many-77")
    running.eventually_is(secrets={"s-many-77"})
    assert threading.active_count() - before < 225


def test_namespaces_beyond_the_limit_wait_and_are_not_watched() -> None:
    made = Running(WatchedApi())
    made.watcher.namespaces = each = PerNamespaceInformers(
        made.watcher._secrets_informer, made.watcher.revocations, made.clock.unix, limit=2
    )
    made.watcher._cluster_wide = made.watcher._cluster_wide_informers()
    for name in ("a", "b", "c"):
        add_namespace(made.api, name)
        made.api.put("serviceaccounts", f"a-{name}", namespace=name, labels={MANAGED_BY: MANAGER})
    with made.started():
        made.eventually_is(watched_namespaces={"a", "b"})
        assert made.watcher.unwatched_namespaces == {"c"}
        made.api.delete("namespaces", "a")
        made.eventually_is(watched_namespaces={"b", "c"})
        assert each.waiting == set()


def test_the_record_of_another_controller_is_compared_with_the_cluster(running: Running) -> None:
    record = {
        "format": 1,
        "known": {"secret": {"s-1": "team", "s-old": "team", "s-far": "plain"},
                  "serviceAccount": {"a-old": "team"}},
        "gone": {"s-before": ["secret", "team", running.clock.unix()]},
        "namespaces": {},
    }  # fmt: skip
    running.watcher.merge(record)
    running.eventually_is(secrets={"s-old", "s-before"}, service_accounts={"a-old"})
    assert running.watcher.record()["known"][ObjectKind.SECRET]["s-far"] == "plain"


@pytest.mark.parametrize("close_after_seconds", [6, 12, 600])
@pytest.mark.parametrize("each_namespace", [False, True])
def test_every_watch_restarts_at_least_twice_before_the_gate_closes(
    *, each_namespace: bool, close_after_seconds: int
) -> None:
    watcher = RevocationWatcher(
        cluster_of(WatchedApi()), MovableClock(), replace(SCOPE, each_namespace=each_namespace),
        longest_lifetime_seconds=3600, close_after_seconds=close_after_seconds,
    )  # fmt: skip
    assert max(informer.watch_seconds for informer in watcher.informers) <= close_after_seconds / 2
