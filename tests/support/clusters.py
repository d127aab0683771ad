"""The admin side's own way to the control plane of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from daypass._core.files import write_private
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.kubeconfig import find_connection_config
from support.controlplane import ControlPlane
from support.objects import kubeconfig


def admin_access(plane: ControlPlane) -> ConnectionConfig:
    return find_connection_config({}, kubeconfig=str(plane.kubeconfig))


@contextmanager
def admin_cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """A Cluster with all rights."""
    with closing(Cluster(admin_access(plane))) as cluster:
        yield cluster


def apply(plane: ControlPlane, *objects: Object) -> None:
    with admin_cluster(plane) as cluster:
        for value in objects:
            cluster.apply(value, force=True)


def cluster_as(plane: ControlPlane, token: Secret) -> Cluster:
    """A Cluster as the holder of a token. Close it."""
    return Cluster(
        ConnectionConfig(
            server=plane.url, namespace="default", origin="tests", authority=plane.ca_pem,
            token=token,
        )
    )  # fmt: skip


def account_token(plane: ControlPlane, namespace: str, name: str) -> Secret:
    """A token of a ServiceAccount for the API server itself, as kubelet mounts it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    return Secret(plane.admin.create(path, {"spec": {}})["status"]["token"])


def write_kubeconfig(plane: ControlPlane, token: Secret, file: Path, *, url: str = "") -> None:
    """`url`: of another API server of the plane."""
    document = kubeconfig(url or plane.url, {"token": token.reveal()}, str(plane.ca_path))
    write_private(str(file), json.dumps(document).encode())
