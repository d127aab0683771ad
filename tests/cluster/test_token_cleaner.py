"""The control plane's cleaner of unused long-lived tokens leaves those of identities alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from support import identities
from support.admin import MERGE_PATCH
from support.children import Child
from support.controlplane import ControlPlane, control_plane_program
from support.deadline import eventually

INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
TRACKED = (
    "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking"
)
FLAGS = (
    "--controllers=legacy-serviceaccount-token-cleaner-controller",
    # Whatever was not used in the last millisecond is unused.
    "--legacy-service-account-token-clean-up-period=1ms",
    "--kubeconfig=controller.kubeconfig",
    "--leader-elect=false",
    "--secure-port=0",
)


def test_only_secrets_that_a_service_account_lists_are_cleaned(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    admin = control_plane.admin
    since = {"data": {"since": "2020-01-01"}}
    eventually("use is tracked", lambda: admin.request("GET", TRACKED).code == 200)
    admin.request("PATCH", TRACKED, since, headers={"Content-Type": MERGE_PATCH})
    ours = control_plane.make_identity()
    # Two rounds: the first has looked at every Secret once the second one has begun.
    for _ in range(2):
        listed = control_plane.make_identity(ours.namespace, identities.unique("old"))
        account = f"/api/v1/namespaces/{listed.namespace}/serviceaccounts/{listed.service_account}"
        reference = {"secrets": [{"name": listed.secret_name}]}
        admin.request("PATCH", account, reference, headers={"Content-Type": MERGE_PATCH})
        cleaner = Child(
            [*control_plane_program("kube-controller-manager"), *FLAGS],
            log=tmp_path / "cleaner.log", folder=control_plane.folder,
        )  # fmt: skip
        labelled = partial(_is_labelled, control_plane, listed.secret_path)
        try:
            eventually("the cleaner was there", labelled)
        finally:
            cleaner.stop()
    assert not _is_labelled(control_plane, ours.secret_path)
    assert control_plane.client(ours.token).request("POST", ours.token_path, {}).code == 201


def _is_labelled(plane: ControlPlane, path: str) -> bool:
    return INVALID_SINCE in plane.admin.get(path)["metadata"].get("labels", {})
