"""A feed for each namespace of identities: which there are, when they end, and what is not seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from daypass.gateway.denials import Kind
from daypass.gateway.following import OURS, Following, Scope
from daypass.gateway.namespaces import EachNamespace
from daypass.render.envoy.revocation import Revoked
from daypass.render.policy.marks import ENFORCED, LABEL
from daypass.testing.clock import MovableClock
from support.deadline import eventually
from support.watched_api import WatchedApi, cluster_of

CLOSE_AFTER = 600
LABELS = {LABEL: ENFORCED}
SCOPE = Scope(orders_namespace="daypass", each_namespace=True)


class Running:
    def __init__(self, api: WatchedApi, scope: Scope = SCOPE) -> None:
        self.api, self.clock = api, MovableClock()
        self.following = Following(
            cluster_of(api), self.clock, scope, longest_lifetime_seconds=3600,
            close_after_seconds=CLOSE_AFTER,
        )  # fmt: skip

    @property
    def each(self) -> EachNamespace:
        assert self.following.each is not None
        return self.following.each

    def becomes(self, **expected: object) -> Revoked:
        def right() -> Revoked | None:
            now = self.following.revoked()
            return now if all(getattr(now, k) == v for k, v in expected.items()) else None

        return eventually(f"it is {expected}", right, seconds=60)


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
    made.following.start()
    made.becomes(followed={"team", "other"})
    yield made
    made.following.stop()


def test_a_deletion_in_a_namespace_of_identities_is_seen(running: Running) -> None:
    running.api.delete("secrets", "s-1")
    running.becomes(secrets={"s-1"}, closed=False)


def test_no_text_in_an_object_ends_a_line_of_a_watch(running: Running) -> None:
    running.api.put("serviceaccounts", "a-2", annotations={"note": "one\x85two\u2028three"})
    running.api.put("secrets", "s-3", annotations={"note": "one\x85two"})
    running.api.delete("serviceaccounts", "a-1")
    running.api.delete("secrets", "s-1")
    running.becomes(secrets={"s-1"}, service_accounts={"a-1"})
    assert running.following.trouble == ""


def test_secrets_are_asked_for_in_these_namespaces_alone(running: Running) -> None:
    asked = {r.url.path for r in list(running.api.asked) if r.url.path.endswith("secrets")}
    assert asked == {f"/api/v1/namespaces/{name}/secrets" for name in ("team", "other")}
    secrets = [r for r in list(running.api.asked) if r.url.path.endswith("secrets")]
    assert all("PartialObjectMetadata" in r.headers["accept"] for r in secrets)
    assert all("type=kubernetes.io" in r.url.params["fieldSelector"] for r in secrets)


def test_a_namespace_is_followed_once_it_is_labelled(running: Running) -> None:
    add_namespace(running.api, "plain")
    running.becomes(followed={"team", "other", "plain"})


def test_who_loses_the_label_is_not_followed_and_its_secrets_do_not_count_as_gone(
    running: Running,
) -> None:
    add_namespace(running.api, "team", labelled=False)
    running.becomes(followed={"other"}, secrets=set())
    running.api.delete("secrets", "s-1")
    add_namespace(running.api, "team")
    running.becomes(followed={"team", "other"}, secrets={"s-1"})


def test_with_a_namespace_all_that_was_in_it_is_gone(running: Running) -> None:
    running.api.forbidden.add("team")  # its Role goes as well, and nobody sees what comes after
    running.api.delete("namespaces", "team")
    running.becomes(followed={"other"})
    running.api.forbidden.clear()
    add_namespace(running.api, "team")  # another one of that name
    running.becomes(followed={"team", "other"})
    assert "s-1" in running.following.record()["gone"]


def test_authorizers_are_told_what_is_gone_with_a_namespace_that_nobody_follows_any_more() -> None:
    """The API server takes its tokens for seconds more: what is asked then would be remembered."""
    running = Running(WatchedApi(), replace(SCOPE, names_followed=False))
    add_namespace(running.api, "team")
    running.api.put("secrets", "s-1")
    running.api.put("serviceaccounts", "a-1")
    running.following.start()
    try:
        eventually("it is followed", lambda: "team" in running.following.followed, seconds=60)
        running.api.delete("namespaces", "team")
        running.becomes(secrets={"s-1"}, service_accounts={"a-1"}, followed=None, closed=False)
        assert not running.following.followed
    finally:
        running.following.stop()


def test_a_namespace_that_went_while_nobody_looked_is_gone(running: Running) -> None:
    running.api.fails = 0
    eventually("it sees that", lambda: running.following.trouble)
    running.api.delete("namespaces", "team")
    running.api.events.clear()
    running.api.forgotten = running.api.version
    running.api.fails = None
    running.becomes(followed={"other"})
    assert "s-1" in running.following.record()["gone"]


def test_a_namespace_without_the_role_is_told_and_not_followed(running: Running) -> None:
    running.api.put("serviceaccounts", "a-new", namespace="new", labels={OURS[0]: OURS[1]})
    running.api.forbidden.update({"new", "left"})
    add_namespace(running.api, "left")  # by its last identity, and still held to the policy
    add_namespace(running.api, "new")
    eventually("it is told", lambda: running.following.unfollowed == {"new"})
    eventually("why", lambda: 'resources: ["secrets"]' in running.following.trouble)
    running.becomes(followed={"team", "other"}, closed=False)
    assert running.following.is_settled
    running.api.forbidden.remove("new")
    running.becomes(followed={"team", "other", "new"})


def test_a_namespace_that_loses_the_role_is_followed_until_it_was_silent_for_too_long(
    running: Running,
) -> None:
    running.api.forbidden.add("team")
    eventually("it sees that", lambda: running.following.trouble)
    running.becomes(followed={"team", "other"})
    running.clock.move(CLOSE_AFTER + 1)
    running.becomes(followed={"other"}, closed=False)


def test_two_hundred_namespaces_are_followed(running: Running) -> None:
    names = {f"many-{number}" for number in range(200)}
    for name in names:
        running.api.put("secrets", f"s-{name}", namespace=name)
        add_namespace(running.api, name)
    running.becomes(followed=names | {"team", "other"})
    running.api.delete("secrets", "s-many-77")
    running.becomes(secrets={"s-many-77"})
    assert threading.active_count() < 230


def test_more_namespaces_than_there_is_room_for_wait_and_are_not_followed() -> None:
    made = Running(WatchedApi())
    made.following.each = each = EachNamespace(
        made.each._make, made.following.denials, made.clock.unix, feeds_at_most=2
    )
    made.following._wide = [made.following._feed(f) for f in made.following._everywhere()]
    for name in ("a", "b", "c"):
        add_namespace(made.api, name)
        made.api.put("serviceaccounts", f"a-{name}", namespace=name, labels={OURS[0]: OURS[1]})
    made.following.start()
    made.becomes(followed={"a", "b"})
    assert made.following.unfollowed == {"c"}
    made.api.delete("namespaces", "a")
    made.becomes(followed={"b", "c"})
    assert each.waiting == set()
    made.following.stop()


def test_what_another_one_has_recorded_is_compared_with_what_is_there(running: Running) -> None:
    record = {
        "format": 1,
        "known": {"secret": {"s-1": "team", "s-old": "team", "s-far": "plain"},
                  "serviceAccount": {"a-old": "team"}},
        "gone": {"s-before": ["secret", "team", running.clock.unix()]},
        "namespaces": {},
    }  # fmt: skip
    running.following.absorb(record)
    running.becomes(secrets={"s-old", "s-before"}, service_accounts={"a-old"})
    assert running.following.record()["known"][Kind.SECRET]["s-far"] == "plain"


@pytest.mark.parametrize("close_after_seconds", [6, 12, 600])
@pytest.mark.parametrize("each_namespace", [False, True])
def test_every_feed_gives_several_signs_of_life_before_the_gate_closes(
    *, each_namespace: bool, close_after_seconds: int
) -> None:
    following = Following(
        cluster_of(WatchedApi()), MovableClock(), replace(SCOPE, each_namespace=each_namespace),
        longest_lifetime_seconds=3600, close_after_seconds=close_after_seconds,
    )  # fmt: skip
    assert max(feed.followed.watch_seconds for feed in following.feeds) <= close_after_seconds / 2
