"""What the watch of a gate observes on a real API server: consistently, and of many namespaces."""

from __future__ import annotations

import asyncio

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.labels import OWNED, SELECTOR
from daypass._core.kubernetes.objects import Object, name_of
from daypass.gate.watch.observer import CredentialObserver
from daypass.kube.answers import Selection
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS
from daypass.kube.watching import AsyncCluster, Informer, Listing
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import WATCHED
from support.watched_api import whole


def prepare_plane(plane: ControlPlane) -> None:
    """Its etcd is stopped, and there are thousands of namespaces."""


def listed(plane: ControlPlane, namespace: str) -> tuple[str, Listing[Object] | None]:
    """List as an informer does: what it reports, and its listing."""

    async def ask() -> tuple[str, Listing[Object] | None]:
        access = find_connection_config({}, kubeconfig=str(plane.kubeconfig))
        cluster = AsyncCluster(access)
        informer = Informer(
            cluster, Selection(resource=SECRETS, namespace=namespace), whole, valid_seconds=10.0
        )
        await informer.sync()
        await cluster.close()
        return informer.last_error, informer.listing

    return asyncio.run(ask())


def test_an_observation_keeps_its_time_while_the_api_server_is_cut_off_from_etcd(
    plane: ControlPlane,
) -> None:
    bot = plane.make_identity(plane.make_namespace(labels=WATCHED))
    observer = CredentialObserver(
        find_connection_config({}, kubeconfig=str(plane.kubeconfig)), SYSTEM_CLOCK, home="default",
        per_namespace=10, accounts_too=False, close_after_seconds=10.0,
    )  # fmt: skip
    observer.start()
    try:
        eventually("it is complete", lambda: observer.observation().is_complete)
        with plane.child("etcd").suspended():
            began = SYSTEM_CLOCK.monotonic()
            eventually("lists fail", lambda: observer.last_error)
            # Watches have ended since, by their timeout, and nothing is newer for it.
            found = observer.observation()
            assert found.listed_at is not None
            assert found.listed_at <= began
            assert found.namespaces[bot.namespace].credentials == {bot.credential}
            assert found.namespaces[bot.namespace].listed_at <= began
        with admin_cluster(plane) as cluster:
            eventually(
                "it is deleted", lambda: cluster.delete(SECRETS, bot.secret_name, bot.namespace)
            )
        eventually(
            "it is seen",
            lambda: observer.observation().namespaces[bot.namespace].credentials == set(),
        )
        eventually(
            "all is listed again",
            lambda: (observer.observation().listed_at or 0) > began and not observer.last_error,
        )
    finally:
        observer.stop()


@pytest.mark.timeout(600)
def test_large_objects_of_a_tenant_end_no_list(plane: ControlPlane) -> None:
    """Two of them are more than a page may have, and all are more than an answer may have: JSON
    has six characters for each `<`.
    """
    bot = plane.make_identity(plane.make_namespace(labels=WATCHED))
    names = [f"large-{number}" for number in range(8)]
    tenant = plane.make_namespace(labels=WATCHED)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "<" * 1_450_000, "uid": "x"}
    metadata = {"namespace": tenant, "labels": dict(OWNED), "ownerReferences": [owner]}
    head = {"apiVersion": "v1", "kind": "ServiceAccount"}
    with admin_cluster(plane) as cluster:
        try:
            for name in names:
                cluster.create({**head, "metadata": {**metadata, "name": name}})
            observer = CredentialObserver(
                cluster.connection, SYSTEM_CLOCK, home="default", per_namespace=10,
                accounts_too=False, close_after_seconds=600.0,
            )  # fmt: skip
            observer.sync()
            found = cluster.list(SERVICE_ACCOUNTS, labels=SELECTOR, metadata_only=True)
        finally:
            for name in names:
                cluster.delete(SERVICE_ACCOUNTS, name, tenant)
    observed = observer.observation()
    assert bot.credential in observed.namespaces[bot.namespace].credentials
    assert tenant in observed.namespaces
    assert {*names, bot.service_account} <= set(map(name_of, found))
