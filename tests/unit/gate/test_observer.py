"""What a watch observes: which Secrets count, of which namespaces, and what it cannot see."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daypass._core.kubernetes.labels import (
    DEADLINE,
    MANAGED_BY,
    MANAGER,
    POLICY,
    POLICY_ENFORCED,
    RETIRE_AFTER,
)
from daypass.gate.watch.observer import CredentialObserver
from daypass.gate.watch.schedule import Observation, ObservedNamespace
from daypass.kube import watching
from daypass.kube.resources import ACCOUNT_UID_ANNOTATION
from daypass.testing import MovableClock
from support.deadline import eventually
from support.watched_api import ACCESS, WatchedApi

CLOSE_AFTER = 600.0
LABELLED, OURS = {POLICY: POLICY_ENFORCED}, {MANAGED_BY: MANAGER}
NOW = "2026-11-28T12:00:00Z"


def uid(number: int) -> str:
    return f"{number:08x}-1111-4222-8333-444444444444"


class Cluster:
    """A fake cluster, and what it is made of. UIDs are numbers."""

    def __init__(self) -> None:
        self.api = WatchedApi()

    def namespace(self, name: str = "team", *, labelled: bool = True, **more: Any) -> None:
        labels = LABELLED if labelled else {}
        self.api.put("namespaces", f"n-{name}", name=name, namespace="", labels=labels, **more)

    def account(self, number: int, name: str = "bot", namespace: str = "team", **more: Any) -> None:
        shape = {"labels": OURS, "name": name, "namespace": namespace, **more}
        self.api.put("serviceaccounts", uid(number), **shape)

    def secret(
        self, number: int, account: int, namespace: str = "team",
        more: Mapping[str, str] = {}, **fields: Any,
    ) -> None:  # fmt: skip
        """`more`: annotations."""
        shape: dict[str, Any] = {
            "name": f"bot-daypass-{number:020}", "namespace": namespace, "labels": OURS,
            "annotations": {ACCOUNT_UID_ANNOTATION: uid(account), **more},
            "creationTimestamp": NOW, **fields,
        }  # fmt: skip
        self.api.put("secrets", uid(number), **shape)

    def remove(self, plural: str, number: int) -> None:
        self.api.delete(plural, uid(number))


class Observed:
    """An observer of a fake cluster."""

    def __init__(
        self, cluster: Cluster, *, per_namespace: int = 2000, accounts_too: bool = False
    ) -> None:
        self.cluster, self.clock = cluster, MovableClock()
        self.observer = CredentialObserver(
            ACCESS, self.clock, gate_namespace="daypass", per_namespace=per_namespace,
            accounts_too=accounts_too, close_after_seconds=CLOSE_AFTER, transport=cluster.api,
        )  # fmt: skip

    @contextmanager
    def started(self) -> Iterator[None]:
        self.observer.start()
        try:
            yield
        finally:
            self.observer.stop()

    def set_time(self, text: str) -> None:
        self.clock.move(datetime.fromisoformat(text).timestamp() - self.clock.unix())

    def now(self) -> Observation:
        return self.observer.observation()

    def eventually(self, what: str, check: Callable[[Observation], object]) -> Observation:
        return eventually(what, lambda: self.now() if check(self.now()) else None)

    def listed_again(self) -> None:
        """Let all be listed again."""
        since = self.clock.monotonic()

        self.cluster.api.end_watches()

        def is_new(now: Observation) -> bool:
            both = now.namespaces, now.accounts
            listed = [it.listed_at for each in both for it in each.values()]
            return min([now.listed_at or 0.0, *listed]) >= since

        self.eventually("all is listed again", is_new)

    def eventually_has(self, **expected: set[int]) -> Observation:
        """Wait for these credentials, by namespace."""
        return self.eventually(f"it has {expected}", lambda now: numbers(now) == expected)


def numbers(observation: Observation) -> dict[str, set[int]]:
    return _numbers(observation.namespaces)


def accounts(observation: Observation) -> dict[str, set[int]]:
    return _numbers(observation.accounts)


def _numbers(found: Mapping[str, ObservedNamespace]) -> dict[str, set[int]]:
    return {name: {int(it[:8], 16) for it in each.credentials} for name, each in found.items()}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """List again soon after a failure."""
    monkeypatch.setattr(watching, "LONGEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def cluster() -> Cluster:
    """One namespace, with one identity and its Secret."""
    made = Cluster()
    made.namespace()
    made.account(1)
    made.secret(10, 1)
    return made


@pytest.fixture
def observed(cluster: Cluster) -> Iterator[Observed]:
    made = Observed(cluster)
    with made.started():
        made.eventually("it is complete", lambda now: now.is_complete)
        made.eventually_has(team={10})
        yield made


def once(cluster: Cluster, **options: Any) -> Observation:
    made = Observed(cluster, **options)
    made.observer.sync()
    return made.now()


ODD: dict[str, dict[str, Any]] = {
    "another name": {"name": "bot-daypass-0"},
    "a name with more": {"name": f"bot-daypass-{0:020}-x"},
    "a name in upper case": {"name": f"bot-daypass-{0:019}A"},
    "the name of another account": {"name": f"other-daypass-{0:020}"},
    "no account": {"annotations": {}},
    "an account that does not exist": {"annotations": {ACCOUNT_UID_ANNOTATION: uid(99)}},
    "an account of another namespace": {"annotations": {ACCOUNT_UID_ANNOTATION: uid(2)}},
    "an account that is being deleted": {"annotations": {ACCOUNT_UID_ANNOTATION: uid(3)}},
    "another label": {"labels": {MANAGED_BY: "helm"}},
    "being deleted": {"deletionTimestamp": NOW},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_only_a_secret_of_an_identity_that_exists_counts(
    cluster: Cluster, odd: dict[str, Any]
) -> None:
    cluster.account(2, namespace="other")
    cluster.account(3, deletionTimestamp=NOW)
    cluster.secret(11, 1, **odd)
    assert numbers(once(cluster)) == {"team": {10}}


def test_secrets_are_listed_only_in_labelled_namespaces_and_without_their_data(
    cluster: Cluster,
) -> None:
    cluster.namespace("plain", labelled=False)
    cluster.account(2, namespace="plain")
    cluster.secret(20, 2, namespace="plain")
    assert numbers(once(cluster)) == {"team": {10}}
    secrets = [each for each in cluster.api.asked if each.url.path.endswith("/secrets")]
    assert [each.url.path for each in secrets] == ["/api/v1/namespaces/team/secrets"]
    assert all("PartialObjectMetadata" in each.headers["accept"] for each in secrets)
    assert all(each.url.params["labelSelector"] == f"{MANAGED_BY}={MANAGER}" for each in secrets)


def test_a_namespace_that_is_being_deleted_counts_as_deleted(observed: Observed) -> None:
    observed.cluster.namespace(deletionTimestamp=NOW)
    observed.eventually_has()


def test_a_namespace_that_is_known_but_not_listed_yet_is_missing(cluster: Cluster) -> None:
    made, complete = Observed(cluster), []
    follow = made.observer._labelled._notify

    def note_and_follow() -> None:
        complete.append(made.now().is_complete)
        follow()

    made.observer._labelled._notify = note_and_follow
    with made.started():
        made.eventually("it is complete", lambda now: now.is_complete)
        cluster.namespace("new")
        made.eventually_has(team={10}, new=set())
    assert complete == [False, False]


def is_listed_again(api: WatchedApi, lists: int) -> bool:
    return api.lists("secrets", "team") > lists


def test_a_credential_relies_on_the_lists_of_its_secret_and_of_its_account(
    observed: Observed,
) -> None:
    api, before = observed.cluster.api, observed.now().namespaces["team"].listed_at
    observed.clock.move(30)
    api.forbidden.add("team/serviceaccounts")
    for _ in range(2):  # as the second one begins, the first one is over
        lists = api.lists("secrets", "team")
        api.end_watches()
        eventually("Secrets are listed", partial(is_listed_again, api, lists))
    now = observed.eventually("it is reported", lambda now: "team" in now.unwatched)
    assert now.namespaces["team"].listed_at < before + 30


@pytest.mark.parametrize("kind", ["namespaces", "configmaps"])
def test_nothing_is_known_without_each_list_that_concerns_all(cluster: Cluster, kind: str) -> None:
    cluster.api.forbidden.add(kind)
    made = Observed(cluster)
    with made.started():
        eventually("it is reported", lambda: made.observer.last_error)
        assert (made.now().listed_at, made.now().is_complete) == (None, False)
        cluster.api.forbidden.clear()
        made.eventually("it is complete", lambda now: now.is_complete)
        assert made.now().listed_at is not None


def test_the_oldest_credentials_of_a_namespace_count_up_to_the_limit(cluster: Cluster) -> None:
    for number in range(11, 15):
        cluster.secret(number, 1, creationTimestamp=f"2026-11-28T12:00:{30 - number}Z")
    made = Observed(cluster, per_namespace=3)
    with made.started():
        made.eventually_has(team={10, 13, 14})
        assert made.now().left_out == {"team": 2}
        cluster.remove("secrets", 14)
        made.eventually_has(team={10, 12, 13})
        cluster.remove("secrets", 10)
        made.eventually_has(team={11, 12, 13})
        assert made.now().left_out == {}


PASSED, COMES = "2026-11-28T11:59:59Z", "2026-11-28T13:00:00Z"
UNREADABLE = "", "tomorrow", "2026-11-28T13:00:00", "9999-12-31T23:59:59-23:59"


@pytest.mark.parametrize("time", [PASSED, *UNREADABLE])
def test_after_its_deadline_an_identity_does_not_count_nor_do_its_unbound_tokens(
    cluster: Cluster, time: str
) -> None:
    cluster.account(2, "other", annotations={DEADLINE: time})
    cluster.secret(20, 2, name=f"other-daypass-{20:020}")
    # Whatever its label says: somebody may have removed it.
    cluster.account(3, "third", labels={}, annotations={DEADLINE: time})
    now = once(cluster, accounts_too=True)
    assert (numbers(now), accounts(now)) == ({"team": {10}}, {"team": {1}})


def test_what_has_expired_takes_no_room(cluster: Cluster) -> None:
    cluster.secret(9, 1, more={RETIRE_AFTER: PASSED})
    cluster.account(2, "other", annotations={DEADLINE: PASSED})
    cluster.secret(8, 2, name=f"other-daypass-{8:020}")
    now = once(cluster, per_namespace=1)
    assert (numbers(now), now.left_out) == ({"team": {10}}, {})


def test_deadlines_are_by_the_clock_of_the_api_server(cluster: Cluster) -> None:
    cluster.secret(11, 1, more={RETIRE_AFTER: COMES})
    for date, has in (("12:59:58", {10, 11}), ("13:00:02", {10})):
        cluster.api.date = f"Sat, 28 Nov 2026 {date} GMT"
        for local in (PASSED, "2027-11-28T13:00:00Z"):
            made = Observed(cluster)
            made.set_time(local)
            made.observer.sync()
            assert numbers(made.now()) == {"team": has}


def test_a_namespace_with_far_too_many_secrets_is_not_listed(cluster: Cluster) -> None:
    """They would take the memory of all others."""
    cluster.namespace("large")
    cluster.account(2, namespace="large")
    for number in range(11):
        cluster.secret(20 + number, 2, namespace="large")
    now = once(cluster, per_namespace=1)
    assert (numbers(now), list(now.unwatched)) == ({"team": {10}}, ["large"])
    assert "more than 10 objects" in now.unwatched["large"]


@pytest.mark.parametrize("kind", ["secrets", "serviceaccounts"])
def test_a_tenant_whose_lists_take_long_delays_no_other(cluster: Cluster, kind: str) -> None:
    cluster.api.hangs.add(f"large/{kind}")
    cluster.namespace("large")
    cluster.account(2, namespace="large")
    made = Observed(cluster)
    with made.started():
        made.eventually_has(team={10})
        made.clock.move(30)
        made.listed_again()
        cluster.secret(11, 1)
        made.eventually_has(team={10, 11})
        assert not made.now().is_complete


def test_long_annotations_of_a_tenant_take_no_memory(cluster: Cluster) -> None:
    """An object may have 256 KiB of them, of which Python makes a megabyte by one character."""
    for number in range(100):
        note = "\U0001f600" + "x" * 250_000
        cluster.account(100 + number, f"one-{number}", annotations={ACCOUNT_UID_ANNOTATION: note})
    made = Observed(cluster)
    tracemalloc.start()
    try:
        made.observer.sync()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert numbers(made.now()) == {"team": {10}}
    assert kept < 30_000_000


def test_accounts_of_labelled_namespaces_count_where_tokens_need_no_secret(
    cluster: Cluster,
) -> None:
    cluster.account(2, "default", labels={})
    cluster.account(3, "leaving", deletionTimestamp=NOW)
    cluster.account(4, namespace="plain")
    cluster.namespace("hidden")
    cluster.account(5, namespace="hidden")
    cluster.api.forbidden.add("hidden/secrets")
    made = Observed(cluster, accounts_too=True)
    with made.started():
        made.eventually(
            "they count",
            lambda now: accounts(now) == {"team": {1, 2}, "hidden": {5}} and now.is_complete,
        )
        cluster.namespace("hidden", labelled=False)
        made.eventually("fewer count", lambda now: accounts(now) == {"team": {1, 2}})
        cluster.remove("serviceaccounts", 2)
        made.eventually("one counts", lambda now: accounts(now) == {"team": {1}})
        made.eventually_has(team={10})


def test_changed_is_set_by_what_is_different_and_not_by_lists_that_find_the_same(
    observed: Observed,
) -> None:
    changed = observed.observer.changed
    changed.clear()
    observed.listed_again()
    assert not changed.is_set()
    observed.cluster.secret(11, 1)
    assert changed.wait(10)
    changed.clear()
    observed.cluster.api.forbidden.add("team")
    observed.cluster.api.end_watches()
    assert changed.wait(10)


def test_namespaces_beyond_the_connections_are_reported(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HTTP1_WATCHES_AT_MOST", 7)  # two are for all namespaces
    for number in range(2, 5):
        cluster.namespace(f"n-{number}")
        cluster.account(number, namespace=f"n-{number}")
        cluster.secret(10 * number, number, namespace=f"n-{number}")
    made = Observed(cluster)
    with made.started():
        now = made.eventually("it is complete", lambda now: now.is_complete)
        assert len(now.namespaces) == 2
        assert len(now.unwatched) == 2
        assert all("room for 2 namespaces" in why for why in now.unwatched.values())
        cluster.api.delete("namespaces", f"n-{next(iter(now.namespaces))}")
        made.eventually(
            "another is watched", lambda now: len(now.namespaces) == 2 and len(now.unwatched) == 1
        )


def test_one_list_of_everything_covers_all_namespaces_and_watches_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HTTP1_WATCHES_AT_MOST", 4)
    for name in ("one", "two"):
        cluster.namespace(name)
    now = once(cluster)
    assert now.is_complete
    assert set(now.namespaces) == {"team", "one", "two"}
    assert now.listed_at is not None
    assert not [each for each in cluster.api.asked if "watch" in each.url.params]


def test_an_api_server_that_comes_back_is_listed_again(observed: Observed) -> None:
    api = observed.cluster.api
    api.fails = 0
    eventually("it is noticed", lambda: observed.observer.last_error)
    observed.cluster.remove("secrets", 10)
    before = observed.now()
    assert numbers(before) == {"team": {10}}
    observed.clock.move(5)
    api.fails = None
    observed.eventually_has(team=set())
    assert observed.now().is_complete
    eventually("nothing fails", lambda: not observed.observer.last_error)


NAMESPACES, ACCOUNTS, SECRETS = ("a", "b"), range(1, 5), range(10, 18)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["event", "event", "lost", "broken", "forbidden", "ended"]),
        st.one_of(
            st.tuples(st.just("namespace"), st.sampled_from(NAMESPACES), st.booleans()),
            st.tuples(st.just("account"), st.sampled_from(ACCOUNTS), st.booleans()),
            st.tuples(st.just("secret"), st.sampled_from(SECRETS), st.booleans()),
            st.tuples(st.just("leaving"), st.sampled_from(SECRETS), st.booleans()),
        ),
    ),
    max_size=25,
)
"""How each change reaches the watch; what changes, and whether it exists afterwards."""


class Changing(Cluster):
    """Namespaces with up to two accounts, and up to four Secrets of theirs."""

    def change(self, kind: str, what: Any, exists: bool) -> None:
        plural = {"namespace": "namespaces", "account": "serviceaccounts"}.get(kind, "secrets")
        key = f"n-{what}" if kind == "namespace" else uid(what)
        if not exists and kind != "leaving":
            if (plural, key) in self.api.objects:
                self.api.delete(plural, key)
        elif kind == "namespace":
            self.namespace(what)
        elif kind == "account":
            self.account(what, namespace=NAMESPACES[what % 2])
        else:
            more = {"deletionTimestamp": NOW} if kind == "leaving" else {}
            self.secret(what, what // 2 - 4, NAMESPACES[what // 2 % 2], {}, **more)

    def expected(self) -> dict[str, set[int]]:
        """What exists, by the objects alone."""
        here = self.api.objects
        return {
            name: {
                number for number in SECRETS
                if number // 2 % 2 == NAMESPACES.index(name)
                and ("serviceaccounts", uid(number // 2 - 4)) in here
                and (found := here.get(("secrets", uid(number)))) is not None
                and not found["metadata"].get("deletionTimestamp")
            }
            for name in NAMESPACES if ("namespaces", f"n-{name}") in here
        }  # fmt: skip


@settings(max_examples=20)
@given(steps=STEPS)
def test_whatever_was_missed_the_next_lists_show_what_exists(steps: list[Any]) -> None:
    cluster = Changing()
    made = Observed(cluster)
    with made.started():
        for how, change in steps:
            version = cluster.api.version + 1
            if how == "lost":
                cluster.api.lost.add(version)
            elif how == "broken":
                cluster.api.breaks[version] = 1
            elif how == "forbidden":
                cluster.api.forbidden ^= {NAMESPACES[version % 2]}
            elif how == "ended":
                cluster.api.end_watches()
            cluster.change(*change)
        cluster.api.forbidden.clear()
        made.eventually("it is complete", lambda now: now.is_complete)
        made.listed_again()
        made.eventually_has(**cluster.expected())
