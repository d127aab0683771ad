"""`daypass gate watch` on a real API server, with the rights that are rendered and no others."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.labels import MANAGED_BY
from daypass.cli import main
from daypass.gate.revocation.revocation_list import ObjectKind
from daypass.gate.revocation.state_store import StateStore
from daypass.gate.revocation.watcher import RevocationWatcher, Scope
from daypass.identity.model import IdentityName, get_identity
from daypass.identity.tokens import token_secrets
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, ForbiddenError
from daypass.kube.resources import (
    CONFIG_MAPS,
    ENVOY_FILTERS,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
)
from daypass.render.istio.filters import revoked_names
from daypass.render.objects import GATE_KEYS, GATE_KNOWN, GATE_WATCH
from daypass.render.workloads import config_text
from support.admin import MERGE_PATCH
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.watching import (
    FRONT,
    HOME,
    RESTORING_EVERY_SECOND,
    Watch,
    as_watch,
    becomes_published,
    give_role,
    identity_namespace,
    is_followed,
    prepare,
    published,
    watched_config,
    watching,
)

CONFIG = watched_config(closeAfter="10m")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("watch-plane")) as running:
        prepare(running, CONFIG)
        yield running


@pytest.fixture
def watch(plane: ControlPlane, tmp_path: Path) -> Iterator[Watch]:
    """One that publishes."""
    with watching(tmp_path / "watch", plane, CONFIG) as running:
        running.wait_leading()
        yield running


def followed_namespace(plane: ControlPlane) -> str:
    """A new namespace of identities, which a watch that runs has begun to follow."""
    namespace = identity_namespace(plane)
    eventually("it is followed", lambda: is_followed(plane, namespace), seconds=60)
    return namespace


def followed_pair(plane: ControlPlane) -> tuple[Identity, Identity]:
    """Two identities, `one` and `other`, in such a namespace."""
    namespace = followed_namespace(plane)
    return plane.make_identity(namespace, "one"), plane.make_identity(namespace, "other")


def account_path(identity: Identity) -> str:
    return f"/api/v1/namespaces/{identity.namespace}/serviceaccounts/{identity.service_account}"


def test_what_is_deleted_is_published_and_nothing_else(plane: ControlPlane, watch: Watch) -> None:
    one, other = followed_pair(plane)
    plane.admin.delete(one.secret_path)
    becomes_published(plane, one.secret_uid)
    assert other.secret_uid not in published(plane)
    plane.admin.delete(account_path(other))
    becomes_published(plane, other.secret_uid, other.service_account_uid)
    again = plane.make_identity(other.namespace, "other")
    names = [each["name"] for each in watch.events("revoked")]
    assert again.service_account_uid not in names
    assert {one.secret_uid, other.service_account_uid} <= set(names)


def test_hostile_annotations_do_not_stop_the_watch(plane: ControlPlane, watch: Watch) -> None:
    one, other = followed_pair(plane)
    note = {"metadata": {"annotations": {"note": "one\x85two\u2028three\x0bfour\r\nfive\x1csix"}}}
    merge = {"Content-Type": MERGE_PATCH}
    for path in (account_path(other), other.secret_path):
        plane.admin.request("PATCH", path, note, headers=merge)
    plane.admin.delete(one.secret_path)
    plane.admin.delete(account_path(other))
    becomes_published(plane, one.secret_uid, other.service_account_uid)
    assert "does not respond like an API server" not in str(watch.events("trouble"))


def test_its_rights_end_at_what_it_publishes_and_the_namespaces_of_identities(
    plane: ControlPlane,
) -> None:
    identity = plane.make_identity()  # in a namespace that nobody gave to it
    other = {"apiVersion": "v1", "kind": "ConfigMap"}
    label = {"metadata": {"labels": {"x": "y"}}}
    with closing(as_watch(plane)) as watch:
        forbidden: list[Callable[[], object]] = [
            lambda: watch.get(SECRETS, identity.secret_name, identity.namespace),
            lambda: watch.delete(ENVOY_FILTERS, GATE_KEYS, FRONT),
            lambda: watch.patch(NAMESPACES, HOME, label),
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
    labels = {"app.kubernetes.io/managed-by": "daypass"}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    plane.admin.create(path, {"metadata": {"name": "bot", "labels": labels}})

    def is_reported() -> bool:
        code, status = _get(watch, "/status")
        trouble = json.loads(status)["problems"].get("trouble", "")
        return code == 503 and "secrets is forbidden" in trouble and namespace in status

    eventually("it is reported", is_reported, seconds=60)
    assert not is_followed(plane, namespace)
    give_role(plane, namespace)
    eventually("it is followed", lambda: is_followed(plane, namespace), seconds=90)
    names = [each["namespace"] for each in watch.events("namespace-followed")]
    assert namespace in names


def test_keys_are_published_with_their_issuer_and_health_and_metrics_are_served(
    plane: ControlPlane, watch: Watch
) -> None:
    keys = eventually("keys are published", lambda: watch.events("keys"))
    with closing(admin_cluster(plane)) as cluster:
        text = json.dumps(cluster.get(ENVOY_FILTERS, GATE_KEYS, FRONT))
    assert keys[-1]["kids"][0] in text
    assert "https://kubernetes.default.svc" in text
    assert _get(watch, "/healthz")[0] == 200
    assert eventually("it is ready", lambda: _get(watch, "/readyz")[0] == 200)
    text = _get(watch, "/metrics")[1]
    for line in (
        "daypass_gate_watch_leader 1",
        "daypass_gate_watch_closed 0",
        'daypass_gate_watch_entries{kind="secret"}',
        'daypass_gate_watch_heard_seconds{kind="namespaces",namespace=""}',
        "daypass_gate_watch_keys_seconds",
        "daypass_gate_watch_publish_errors_total 0",
    ):
        assert line in text, text


def test_changes_by_others_are_reverted(plane: ControlPlane, tmp_path: Path) -> None:
    name = revoked_names()[1]
    with (
        watching(tmp_path / "watch", plane, CONFIG, RESTORING_EVERY_SECOND) as watch,
        closing(admin_cluster(plane)) as cluster,
    ):
        watch.wait_leading()
        cluster.delete(ENVOY_FILTERS, name, FRONT)
        eventually("it is back", lambda: cluster.find(ENVOY_FILTERS, name, FRONT))
        (event,) = eventually("it is logged", lambda: watch.events("put-back"))
        assert event["names"] == [name]


def test_a_deleted_record_is_written_again(plane: ControlPlane, watch: Watch) -> None:
    one, other = followed_pair(plane)
    plane.admin.delete(one.secret_path)
    becomes_published(plane, one.secret_uid)
    for name in (GATE_KNOWN, f"{GATE_KNOWN}-{other.secret_uid[0]}"):
        plane.admin.delete(f"/api/v1/namespaces/{HOME}/configmaps/{name}")
    plane.admin.delete(other.secret_path)
    becomes_published(plane, one.secret_uid, other.secret_uid)


def test_a_killed_watch_is_taken_over_and_what_was_deleted_meanwhile_counts(
    plane: ControlPlane, tmp_path: Path, watch: Watch
) -> None:
    """Two replicas: the leader dies without a word, while there is another one and while not."""
    namespace = followed_namespace(plane)
    bots = [plane.make_identity(namespace, f"bot-{number}") for number in range(4)]
    wanted = {bot.secret_uid for bot in bots}
    with closing(admin_cluster(plane)) as cluster:
        record = StateStore(cluster, HOME)
        eventually("they are known", lambda: wanted <= record.read_known()["secret"].keys())
    plane.admin.delete(bots[0].secret_path)
    watch.kill()
    plane.admin.delete(bots[1].secret_path)
    with (
        watching(tmp_path / "second", plane, CONFIG) as second,
        watching(tmp_path / "third", plane, CONFIG) as third,
    ):
        eventually(
            "one leads", lambda: second.events("leading") or third.events("leading"), seconds=60
        )
        becomes_published(plane, bots[0].secret_uid, bots[1].secret_uid)
        leader, other = (second, third) if second.events("leading") else (third, second)
        assert not other.events("leading")
        leader.kill()
        plane.admin.delete(bots[2].secret_path)
        becomes_published(plane, bots[2].secret_uid)
        assert bots[3].secret_uid not in published(plane)


def test_a_damaged_record_is_reported_and_without_one_what_was_issued_before_is_refused(
    tmp_path: Path,
) -> None:
    with ControlPlane.start(tmp_path / "plane") as plane, closing(admin_cluster(plane)) as cluster:
        prepare(plane, CONFIG)
        bot = plane.make_identity(identity_namespace(plane))
        with watching(tmp_path / "first", plane, CONFIG) as first:
            first.wait_leading()
            assert first.events("record-lost") == []
            assert issued_after(cluster) < SYSTEM_CLOCK.unix() - 7000
        plane.admin.delete(bot.secret_path)
        cluster.patch(CONFIG_MAPS, GATE_KNOWN, {"data": {"number": "x"}}, HOME)
        began = int(SYSTEM_CLOCK.unix())
        with watching(tmp_path / "second", plane, CONFIG) as second:
            (told, *_) = eventually("it is reported", lambda: second.events("not-published"))
            assert f"kubectl delete configmap {GATE_KNOWN} -n {HOME}" in told["why"]
            assert issued_after(cluster) < began - 7000
            cluster.delete(CONFIG_MAPS, GATE_KNOWN, HOME)
            eventually("it is in force", lambda: issued_after(cluster) > began)
            assert len(second.events("record-lost")) == 1
            # What was known before is in ConfigMaps of its own.
            becomes_published(plane, bot.secret_uid)


def issued_after(cluster: Cluster) -> float:
    """Tokens that were issued before are refused by the list that is in force."""
    text = json.dumps(cluster.get(ENVOY_FILTERS, revoked_names()[0], FRONT))
    (found,) = re.findall(r'"end": (\d+)', text)
    return float(found)


def test_ten_thousand_that_went_while_nobody_looked_are_published(
    plane: ControlPlane, tmp_path: Path
) -> None:
    namespace = identity_namespace(plane)
    uids = [f"{number % 16:x}{number:07x}-0000-4000-8000-000000000000" for number in range(10_000)]
    with closing(admin_cluster(plane)) as cluster:
        record = StateStore(cluster, HOME)
        known = record.read_known()
        known[ObjectKind.SECRET].update(dict.fromkeys(uids, namespace))
        record.write_known(known)
        sizes = [
            len(json.dumps(cluster.get(CONFIG_MAPS, f"{GATE_KNOWN}-{n}", HOME)))
            for n in "0123456789abcdef"
        ]
    assert max(sizes) < 600_000
    with watching(tmp_path / "watch", plane, CONFIG) as watch:
        watch.wait_leading()
        becomes_published(plane, *uids)


def test_beside_ten_thousand_entries_a_deletion_changes_one_small_object(
    plane: ControlPlane, tmp_path: Path
) -> None:
    namespace = identity_namespace(plane)
    identity = plane.make_identity(namespace)
    now = SYSTEM_CLOCK.unix()
    uids = [f"{number:08x}-1111-4000-8000-000000000000" for number in range(10_000)]
    with closing(admin_cluster(plane)) as cluster:
        record = StateStore(cluster, HOME)
        read = record.read()
        gone = {uid: [ObjectKind.SECRET, namespace, int(now)] for uid in uids}
        refused = {**read.refused, "gone": gone, "fresh": {}, "settledAt": now}
        record.write(read, refused, read.published)
        with watching(tmp_path / "watch", plane, CONFIG) as watch:
            watch.wait_leading()
            becomes_published(plane, *uids)
            eventually("it is followed", lambda: is_followed(plane, namespace), seconds=60)
            before = parts(cluster)
            plane.admin.delete(identity.secret_path)
            becomes_published(plane, identity.secret_uid)
            after = parts(cluster)
    first = revoked_names()[0]
    assert [name for name in before if before[name] != after[name]] == [first]
    assert len(json.dumps(after[first])) < 20_000


def parts(cluster: Cluster) -> dict[str, Any]:
    """What each part of the list that is in force says."""
    names = revoked_names()
    return {name: cluster.get(ENVOY_FILTERS, name, FRONT)["spec"] for name in names}


def test_a_list_after_the_version_was_forgotten_loses_nothing(plane: ControlPlane) -> None:
    """410 from a real API server: its oldest version is asked for."""
    identity = plane.make_identity(identity_namespace(plane))
    with closing(admin_cluster(plane)) as cluster:
        watcher = RevocationWatcher(
            cluster, SYSTEM_CLOCK, Scope(denials_namespace=HOME, each_namespace=True),
            longest_lifetime_seconds=3600, close_after_seconds=600,
        )  # fmt: skip
        watcher.sync()
        plane.admin.delete(identity.secret_path)
        informers = watcher.informers
        for informer in informers:
            informer._resource_version = "1"
            informer.watch_seconds = 1
        watcher.start()
        eventually("it is seen", lambda: identity.secret_uid in watcher.revoked().secrets)
        watcher.stop()
        for informer in informers:
            informer.join()


def test_of_two_who_write_the_record_the_later_one_has_to_read_again(plane: ControlPlane) -> None:
    home = plane.make_namespace()
    with closing(admin_cluster(plane)) as cluster:
        first, second = StateStore(cluster, home), StateStore(cluster, home)
        one, two = first.read(), second.read()
        nothing: dict[str, Any] = {"format": 1, "gone": {}, "namespaces": {}}
        written = first.write(one, nothing, {})
        with pytest.raises(ConflictError):
            second.write(two, nothing, {})
        assert second.write(second.read(), nothing, {}).number > written.number
        with pytest.raises(ConflictError):
            first.write(written, nothing, {})


def _get(watch: Watch, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{watch.address()}{path}") as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


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


def test_revoke_and_delete_publish_without_a_running_watch(
    plane: ControlPlane, tmp_path: Path, command: Callable[..., str]
) -> None:
    namespace = plane.make_namespace()
    create = ("identity", "create", "bot", "-n", namespace, "--domain", "serving")
    command(*create)
    with watching(tmp_path / "watch", plane, CONFIG) as watch:
        watch.wait_leading()
        eventually("it is followed", lambda: is_followed(plane, namespace), seconds=60)
    with closing(admin_cluster(plane)) as cluster:
        name = IdentityName.parse(namespace, "bot")
        (secret,) = token_secrets(cluster, name)
        assert "updated the gate" in command("identity", "revoke", "bot", "-n", namespace)
        assert secret.uid in published(plane)
        assert is_followed(plane, namespace)
        command(*create)
        (again,) = token_secrets(cluster, name)
        account = get_identity(cluster, name)
        command("identity", "delete", "bot", "-n", namespace, "--yes")
        assert {secret.uid, again.uid, account.uid} <= published(plane)
        assert cluster.find(ROLES, GATE_WATCH, namespace) is None
        assert cluster.find(ROLE_BINDINGS, GATE_WATCH, namespace) is None
    command("gate", "deny", "--uid", "denied-by-hand")
    assert "denied-by-hand" in published(plane)
    # And a watch that comes later keeps all of it.
    other = plane.make_identity(identity_namespace(plane))
    with watching(tmp_path / "later", plane, CONFIG) as watch:
        watch.wait_leading()
        eventually("it is followed", lambda: is_followed(plane, other.namespace), seconds=60)
        plane.admin.delete(other.secret_path)
        becomes_published(plane, other.secret_uid, "denied-by-hand")
        # Nobody looks at the namespace any more, so that all its tokens are refused.
        assert not is_followed(plane, namespace)


def test_the_watch_role_of_a_namespace_is_created_once_and_its_absence_is_reported(
    plane: ControlPlane, command: Callable[..., str]
) -> None:
    namespace = plane.make_namespace()
    first, second = (
        ("identity", "create", name, "-n", namespace, "--domain", "serving")
        for name in ("one", "two")
    )

    def is_missed() -> bool:
        words = command("identity", "list", "-n", namespace, "--check", codes=(0, 3))
        return "not-watched" in words

    command(*first)
    command(*second)
    with closing(admin_cluster(plane)) as cluster:
        assert not is_missed()
        command("identity", "delete", "one", "-n", namespace, "--yes")
        assert cluster.find(ROLES, GATE_WATCH, namespace) is not None
        with closing(as_watch(plane)) as watcher:
            eventually("it may look", lambda: watcher.list(SECRETS, namespace))
        cluster.delete(ROLES, GATE_WATCH, namespace)
        assert is_missed()
        command(*second)
        assert not is_missed()
        not_ours = {"metadata": {"labels": {MANAGED_BY: "somebody"}}}
        cluster.patch(ROLES, GATE_WATCH, not_ours, namespace)
        command("identity", "delete", "two", "-n", namespace, "--yes")
        assert cluster.find(ROLES, GATE_WATCH, namespace) is not None
        assert cluster.find(ROLE_BINDINGS, GATE_WATCH, namespace) is None


def test_watch_once_publishes_the_revocations(
    plane: ControlPlane, command: Callable[..., str]
) -> None:
    identity = plane.make_identity(identity_namespace(plane))
    once = ("gate", "watch", "--once")
    command(*once, codes=(0, 3))
    assert is_followed(plane, identity.namespace)
    plane.admin.delete(identity.secret_path)
    command(*once, codes=(0, 3))
    assert identity.secret_uid in published(plane)
