"""The Kubernetes client on a real API server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from daypass._core.kubernetes.objects import Object, name_of, uid_of
from daypass.kube import answers
from daypass.kube.answers import Selection
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError, ForbiddenError
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import CONFIG_MAPS, SECRETS, TOKEN_SECRETS
from daypass.kube.watching import AsyncCluster
from support.clusters import cluster_as
from support.controlplane import ADMIN_USER, ControlPlane
from support.lifecycle import dry_run
from support.messages import raises
from support.programs import output_of
from support.watched_api import whole


def settings(namespace: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": namespace},
        "data": data,
    }


def test_apply_creates_and_changes_objects_and_delete_removes_them(
    cluster: Cluster, control_plane: ControlPlane
) -> None:
    namespace = control_plane.make_namespace()
    assert cluster.find(CONFIG_MAPS, "settings", namespace) is None
    cluster.apply(settings(namespace, a="1"), dry_run=True)
    assert cluster.find(CONFIG_MAPS, "settings", namespace) is None
    cluster.apply(settings(namespace, a="1"))
    cluster.apply(settings(namespace, b="2"))
    assert cluster.get(CONFIG_MAPS, "settings", namespace)["data"] == {"b": "2"}
    with pytest.raises(AlreadyExistsError):
        cluster.create(settings(namespace))
    with dry_run(cluster):
        assert cluster.delete(CONFIG_MAPS, "settings", namespace) is True
    assert cluster.find(CONFIG_MAPS, "settings", namespace) is not None
    assert cluster.delete(CONFIG_MAPS, "settings", namespace) is True
    assert cluster.delete(CONFIG_MAPS, "settings", namespace) is False


def test_a_field_of_another_manager_is_taken_over_only_with_force(
    cluster: Cluster, control_plane: ControlPlane
) -> None:
    namespace = control_plane.make_namespace()
    path = CONFIG_MAPS.path(namespace, "settings")
    control_plane.admin.apply(path, settings(namespace, a="theirs"))
    with raises(ConflictError, match="daypass-tests"):
        cluster.apply(settings(namespace, a="ours"))
    assert cluster.apply(settings(namespace, a="ours"), force=True)["data"] == {"a": "ours"}


def test_a_recreated_object_is_neither_deleted_nor_changed(
    cluster: Cluster, control_plane: ControlPlane
) -> None:
    namespace = control_plane.make_namespace()
    old = cluster.create(settings(namespace))
    cluster.delete(CONFIG_MAPS, "settings", namespace, uid=uid_of(old))
    cluster.create(settings(namespace))
    with raises(ConflictError, match="settings"):
        cluster.delete(CONFIG_MAPS, "settings", namespace, uid=uid_of(old))
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": ""}}
    with raises(ConflictError, match="settings"):
        cluster.patch(CONFIG_MAPS, "settings", stale, namespace)
    assert "data" not in cluster.get(CONFIG_MAPS, "settings", namespace)


def test_a_forbidden_request_shows_the_missing_rule(control_plane: ControlPlane) -> None:
    bot = control_plane.make_identity()
    rule = '- apiGroups: [""]\n  resources: ["configmaps"]\n  verbs: ["list"]'
    with closing(cluster_as(control_plane, bot.token)) as asked:
        for namespace, values in (
            (bot.namespace, (bot.user, " Role ", bot.namespace)),
            (None, (" ClusterRole:",)),
        ):
            with raises(ForbiddenError) as refused:
                asked.list(CONFIG_MAPS, namespace)
            line, _, shown = refused.value.hint.partition("\n")
            assert shown == rule
            assert [value for value in values if value not in line] == []


Check = Callable[[AsyncCluster], Awaitable[None]]


def in_event_loop(plane: ControlPlane, check: Check) -> None:
    """Run a check with a connection of the admin's."""

    async def scenario() -> None:
        access = find_connection_config({}, kubeconfig=str(plane.kubeconfig))
        opened = AsyncCluster(access)
        try:
            await check(opened)
        finally:
            await opened.close()

    asyncio.run(scenario())


def test_only_the_metadata_of_secrets_leaves_the_api_server(
    cluster: Cluster, control_plane: ControlPlane
) -> None:
    bot = control_plane.make_identity()
    selection = Selection(
        resource=SECRETS, namespace=bot.namespace, fields=TOKEN_SECRETS, metadata_only=True
    )

    async def check(opened: AsyncCluster) -> None:
        found, since = await opened.list(selection, whole)
        (secret,) = found
        assert secret["metadata"]["name"] == bot.secret_name
        assert secret.keys() <= {"kind", "apiVersion", "metadata"}
        cluster.patch(SECRETS, bot.secret_name, {"metadata": {"labels": {"a": "b"}}}, bot.namespace)
        events = opened.watch(selection, since, timeout_seconds=20)
        async with aclosing(events):
            kind, seen = await anext(events)
        assert (kind, seen["metadata"]["labels"]["a"]) == ("MODIFIED", "b")
        assert bot.token.reveal() not in json.dumps(seen)

    in_event_loop(control_plane, check)


def test_a_long_list_has_pages_of_one_revision(
    cluster: Cluster, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is created and deleted between two pages is in none of them."""
    monkeypatch.setattr(answers, "PAGE", 2)
    namespace = control_plane.make_namespace()
    names = [f"settings-{number}" for number in range(5)]
    for name in names:
        document = settings(namespace)
        document["metadata"]["name"] = name
        cluster.apply(document)
    seen: list[str] = []

    def read(document: Object) -> str:
        if not seen:
            cluster.delete(CONFIG_MAPS, names[-1], namespace)
            cluster.apply(settings(namespace))
        seen.append(name_of(document))
        return seen[-1]

    async def check(opened: AsyncCluster) -> None:
        found, _ = await opened.list(Selection(resource=CONFIG_MAPS, namespace=namespace), read)
        assert [name for name in found if name != "kube-root-ca.crt"] == names

    in_event_loop(control_plane, check)


def test_the_user_is_that_of_kubectl_with_the_same_kubeconfig(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    document = json.loads(control_plane.kubeconfig.read_text())
    document["users"][0]["user"] |= {"as": "somebody", "as-groups": ["system:masters", "b"]}
    file = tmp_path / "config"
    file.touch(0o600)
    file.write_text(json.dumps(document))
    cluster = Cluster.open(kubeconfig=str(file))
    review: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    ours = cluster.request("POST", path, review, what="ask")["status"]["userInfo"]
    cluster.close()
    kubectl = Path(sys.executable).with_name("kubectl")
    whoami = (kubectl, "--kubeconfig", file, "auth", "whoami", "-o", "json")
    out = output_of(*whoami, environment={"HOME": str(tmp_path)})
    assert json.loads(out)["status"]["userInfo"] == ours
    assert ours["username"] == "somebody" != ADMIN_USER
