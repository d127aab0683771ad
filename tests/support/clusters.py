"""The admin side's own way to the control plane of the tests."""

from __future__ import annotations

from daypass._core.secret import Secret
from daypass.kube.access import Access
from daypass.kube.cluster import Cluster
from daypass.kube.kubeconfig import find_access
from support.controlplane import ControlPlane


def admin_access(plane: ControlPlane) -> Access:
    """As whoever the control plane's kubeconfig is for: group system:masters."""
    return find_access({}, kubeconfig=str(plane.kubeconfig))


def admin_cluster(plane: ControlPlane) -> Cluster:
    """A Cluster with all rights. Close it."""
    return Cluster(admin_access(plane))


def cluster_as(plane: ControlPlane, token: Secret) -> Cluster:
    """A Cluster as the holder of a token. Close it."""
    access = admin_access(plane)
    return Cluster(
        Access(
            server=access.server,
            namespace=access.namespace,
            origin="tests",
            authority=access.authority,
            token=token,
        )
    )
