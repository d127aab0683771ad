"""Pods that no kubelet runs."""

from __future__ import annotations

from collections.abc import Mapping

from support.controlplane import ControlPlane


def add_pod(plane: ControlPlane, namespace: str, name: str, labels: Mapping[str, str]) -> None:
    """A Pod that is ready."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "main", "image": "none", "securityContext": security}
    restricted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [container], "automountServiceAccountToken": False,
        "securityContext": restricted,
    }  # fmt: skip
    plane.admin.create(pods, {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    plane.admin.request("PATCH", f"{pods}/{name}/status", {"status": status}, headers=_MERGE)


_MERGE = {"Content-Type": "application/merge-patch+json"}
