"""`daypass gate watch` on a real API server, with the rights that are rendered and no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.labels import MANAGED_BY
from daypass.cli import main
from daypass.gate.watch.cluster_publisher import term_of
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import (
    CONFIG_MAPS,
    ENVOY_FILTERS,
    LEASES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
)
from daypass.render.names import GATE_KEYS, GATE_WATCH
from daypass.render.workloads import config_text
from daypass.rules.published import CLUSTER_SHARDS, NAMES, shard_name, shard_of
from support.admin import MERGE_PATCH
from support.clusters import account_token, admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.watching import (
    FRONT,
    HOME,
    Watch,
    becomes_published,
    becomes_removed,
    get_from,
    give_role,
    identity_namespace,
    prepare,
    published,
    published_shards,
    watched_config,
)

LIMIT = 100
CONFIG = watched_config(closeAfter="10m", credentialsPerNamespace=str(LIMIT))


CHECKING_EVERYTHING = (
    "-c",
    "from daypass.gate.watch import cluster_publisher\n"
    "cluster_publisher.CHECKED_AT_ONCE = 1000\n"
    "from daypass.cli import main\n"
    "raise SystemExit(main())",
)
"""Arguments of Python for a watch that need not be waited for until it sees what others change."""


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, CONFIG)


@pytest.fixture
def watch(plane: ControlPlane, tmp_path: Path) -> Iterator[Watch]:
    """One that publishes."""
    with Watch(tmp_path / "watch", plane, CONFIG) as running:
        running.wait_leading()
        yield running


def pair(plane: ControlPlane) -> tuple[Identity, Identity]:
    """Two identities, `one` and `other`, in a new namespace."""
    namespace = identity_namespace(plane)
    return plane.make_identity(namespace, "one"), plane.make_identity(namespace, "other")


def as_watch(plane: ControlPlane) -> Cluster:
    """A Cluster with the watch's rights. Close it."""
    return cluster_as(plane, account_token(plane, HOME, GATE_WATCH))


def account_path(identity: Identity) -> str:
    return f"/api/v1/namespaces/{identity.namespace}/serviceaccounts/{identity.service_account}"


def filtered(cluster: Cluster, uid: str) -> bool:
    """Whether Istio's gateway gets this UID."""
    shard = cluster.get(ENVOY_FILTERS, shard_name(shard_of(uid, CLUSTER_SHARDS)), FRONT)
    return uid in json.dumps(shard["spec"])


def test_what_exists_is_published_for_authorizers_and_for_istio_and_then_no_longer(
    plane: ControlPlane, watch: Watch
) -> None:
    one, other = pair(plane)
    becomes_published(plane, one.secret_uid, other.secret_uid)
    with admin_cluster(plane) as cluster:
        assert filtered(cluster, one.secret_uid)
        plane.admin.delete(one.secret_path)
        becomes_removed(plane, one.secret_uid)
        assert not filtered(cluster, one.secret_uid)
        assert filtered(cluster, other.secret_uid)
    plane.admin.delete(account_path(other))
    becomes_removed(plane, other.secret_uid)
    again = plane.make_identity(other.namespace, "other")
    becomes_published(plane, again.secret_uid)
    removed = {each["uid"] for each in watch.events("removed")}
    assert {one.secret_uid, other.secret_uid} <= removed
    assert again.secret_uid not in removed


def test_hostile_annotations_do_not_stop_the_watch(plane: ControlPlane, watch: Watch) -> None:
    one, other = pair(plane)
    note = {"metadata": {"annotations": {"note": "one\x85two\u2028three\x0bfour\r\nfive\x1csix"}}}
    merge = {"Content-Type": MERGE_PATCH}
    becomes_published(plane, one.secret_uid, other.secret_uid)
    for path in (account_path(other), other.secret_path):
        plane.admin.request("PATCH", path, note, headers=merge)
    plane.admin.delete(one.secret_path)
    becomes_removed(plane, one.secret_uid)
    assert other.secret_uid in published(plane)
    assert "does not respond like an API server" not in str(watch.events("problem"))


def test_its_rights_end_at_what_it_publishes_and_the_namespaces_of_identities(
    plane: ControlPlane,
) -> None:
    namespace = identity_namespace(plane, with_role=False)
    identity = plane.make_identity(namespace)
    other = {"apiVersion": "v1", "kind": "ConfigMap"}
    label = {"metadata": {"labels": {"x": "y"}}}
    with closing(as_watch(plane)) as watch:
        forbidden: list[Callable[[], object]] = [
            lambda: watch.get(SECRETS, identity.secret_name, identity.namespace),
            lambda: watch.delete(ENVOY_FILTERS, GATE_KEYS, FRONT),
            lambda: watch.delete(CONFIG_MAPS, NAMES[0], HOME),
            lambda: watch.patch(NAMESPACES, HOME, label),
            lambda: watch.list(CONFIG_MAPS, HOME),
        ]
        for place in (identity.namespace, HOME, FRONT, "kube-system", None):
            forbidden.append(partial(watch.list, SECRETS, place))
        for place in (FRONT, HOME, identity.namespace):
            metadata = {"name": "another", "namespace": place}
            forbidden.append(partial(watch.apply, {**other, "metadata": metadata}))
            forbidden.append(partial(watch.list, ENVOY_FILTERS, place))
        for request in forbidden:
            with pytest.raises(ForbiddenError):
                request()


def test_a_namespace_without_the_role_is_reported_and_refused_until_it_has_it(
    plane: ControlPlane, watch: Watch
) -> None:
    namespace = identity_namespace(plane, with_role=False)
    bot = plane.make_identity(namespace)

    def is_reported() -> bool:
        code, status = get_from(watch, "/status")
        return code == 503 and namespace in json.loads(status)["problems"].get("namespaces", "")

    eventually("it is reported", is_reported, seconds=60)
    assert "daypass_gate_watch_namespaces_unwatched 0.0\n" not in get_from(watch, "/metrics")[1]
    assert bot.secret_uid not in published(plane)
    give_role(plane, namespace)
    eventually("it is published", lambda: bot.secret_uid in published(plane), seconds=90)


def test_changes_by_others_are_reverted(plane: ControlPlane, tmp_path: Path) -> None:
    with (
        Watch(tmp_path / "watch", plane, CONFIG, CHECKING_EVERYTHING) as watch,
        admin_cluster(plane) as cluster,
    ):
        watch.wait_leading()
        cluster.delete(ENVOY_FILTERS, NAMES[1], FRONT)
        eventually("it is back", lambda: cluster.find(ENVOY_FILTERS, NAMES[1], FRONT))
        one, _ = pair(plane)
        becomes_published(plane, one.secret_uid)
        shard = shard_name(shard_of(one.secret_uid, CLUSTER_SHARDS))
        cluster.patch(CONFIG_MAPS, shard, {"data": {"entries": ""}}, HOME)
        becomes_published(plane, one.secret_uid)

        def is_logged() -> bool:
            problems = watch.events("problem")
            filters, maps = (
                str([each for each in problems if each["kind"] == kind])
                for kind in ("gates", "publish")
            )
            return f"envoyfilters/{NAMES[1]}" in filters and f"configmaps/{shard}" in maps

        eventually("it is logged", is_logged)


def test_a_paused_leader_that_wakes_writes_nothing(plane: ControlPlane, tmp_path: Path) -> None:
    """The other one leads by then, and what the first was about to write is refused."""
    one, other = pair(plane)
    with Watch(tmp_path / "first", plane, CONFIG) as first:
        first.wait_leading()
        becomes_published(plane, one.secret_uid, other.secret_uid)
        with Watch(tmp_path / "second", plane, CONFIG) as second:
            with first.child.suspended():
                plane.admin.delete(one.secret_path)
                eventually("it takes over", second.publishes, seconds=60)
                becomes_removed(plane, one.secret_uid)
            term = second.publishes()[-1]["term"]
            eventually("it follows", first.follows, seconds=60)
            plane.admin.delete(other.secret_path)
            becomes_removed(plane, one.secret_uid, other.secret_uid)
            with admin_cluster(plane) as cluster:
                terms = {term_of(cluster.get(CONFIG_MAPS, name, HOME)) for name in NAMES}
            assert terms == {term}


@pytest.fixture
def command(
    plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:  # fmt: skip
    """Run daypass in a folder with the config, as an admin; return all that it prints."""
    monkeypatch.chdir(tmp_path)
    Path("daypass.yaml").write_text(config_text(CONFIG))

    def run(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        code = main([*arguments, "--kubeconfig", str(plane.kubeconfig)])
        captured = capsys.readouterr()
        assert code in codes, captured.err
        return captured.out + captured.err

    return run


def test_the_watch_role_of_a_namespace_is_created_once_and_its_absence_is_reported(
    plane: ControlPlane, command: Callable[..., str]
) -> None:
    namespace = plane.make_namespace()
    first, second = (
        ("identity", "create", name, "-n", namespace, "--domain", "serving", "--no-wait")
        for name in ("one", "two")
    )

    def is_missed() -> bool:
        words = command("identity", "list", "-n", namespace, "--check", codes=(0, 3))
        return "not-watched" in words

    command(*first)
    command(*second)
    with admin_cluster(plane) as cluster:
        assert not is_missed()
        command("identity", "delete", "one", "-n", namespace, "--yes", "--no-wait")
        assert cluster.find(ROLES, GATE_WATCH, namespace) is not None
        with closing(as_watch(plane)) as watcher:
            eventually("it may look", lambda: watcher.list(SECRETS, namespace))
        cluster.delete(ROLES, GATE_WATCH, namespace)
        assert is_missed()
        command(*second)
        assert not is_missed()
        not_ours = {"metadata": {"labels": {MANAGED_BY: "somebody"}}}
        cluster.patch(ROLES, GATE_WATCH, not_ours, namespace)
        command("identity", "delete", "two", "-n", namespace, "--yes", "--no-wait")
        assert cluster.find(ROLES, GATE_WATCH, namespace) is not None
        assert cluster.find(ROLE_BINDINGS, GATE_WATCH, namespace) is None


ONCE = ("gate", "watch", "--once")


def test_watch_once_publishes_what_exists(plane: ControlPlane, command: Callable[..., str]) -> None:
    one, other = pair(plane)
    command(*ONCE, codes=(0, 3))
    assert {one.secret_uid, other.secret_uid} <= published(plane)
    plane.admin.delete(one.secret_path)
    command(*ONCE, codes=(0, 3))
    found = published(plane)
    assert other.secret_uid in found
    assert one.secret_uid not in found
    with admin_cluster(plane) as cluster:
        shards = published_shards(cluster)
        assert min(shard.closes_unix for shard in shards.values()) > SYSTEM_CLOCK.unix() + 500
        assert cluster.get(LEASES, GATE_WATCH, HOME)["spec"].get("holderIdentity", "") == ""


def test_watch_once_leaves_it_to_a_watch_that_runs_and_takes_over_from_one_that_is_lost(
    plane: ControlPlane, command: Callable[..., str], watch: Watch
) -> None:
    assert "there is nothing to do here" in command(*ONCE)
    one, _ = pair(plane)
    becomes_published(plane, one.secret_uid)
    watch.kill()
    plane.admin.delete(one.secret_path)
    command(*ONCE, codes=(0, 3))
    assert one.secret_uid not in published(plane)
