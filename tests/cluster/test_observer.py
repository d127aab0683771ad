"""What the watch of a gate observes on a real API server where a tenant has large objects."""

from __future__ import annotations

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.labels import OWNED, SELECTOR
from daypass._core.kubernetes.objects import name_of
from daypass.gate.watch.observer import CredentialObserver
from daypass.kube.resources import SERVICE_ACCOUNTS
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.identities import WATCHED


def prepare_plane(plane: ControlPlane) -> None:
    """It holds megabytes."""


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
                cluster.connection, SYSTEM_CLOCK, gate_namespace="default", per_namespace=10,
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
