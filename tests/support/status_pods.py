"""Pods that no kubelet runs, whose metrics a server of the tests answers through the API server."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.controlplane import ControlPlane
from support.http_services import Handler, serving

SCRAPES = Path(__file__).parents[1] / "operation" / "scrapes"


def reachable_address() -> str:
    """An address of this machine that the API server forwards to: none of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        return str(probe.getsockname()[0])


def add_pod(
    plane: ControlPlane, namespace: str, name: str, labels: Mapping[str, str], port: int,
    *, port_name: str = "metrics",
) -> None:  # fmt: skip
    """A Pod that is ready at a port of this machine."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    ports = [{"name": port_name, "containerPort": port}]
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "main", "image": "none", "ports": ports, "securityContext": security}
    restricted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [container], "automountServiceAccountToken": False,
        "securityContext": restricted,
    }  # fmt: skip
    plane.admin.create(pods, {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec})
    address = reachable_address()
    status = {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }  # fmt: skip
    plane.admin.request("PATCH", f"{pods}/{name}/status", {"status": status}, headers=_MERGE)


_MERGE = {"Content-Type": "application/merge-patch+json"}


@contextmanager
def growing(name: str) -> Iterator[int]:
    """Serve a recorded scrape, whose counters grow with each request; yields the port."""
    text, count = (SCRAPES / f"{name}.txt").read_text(), 0

    class Growing(Handler):
        def do_GET(self) -> None:
            nonlocal count
            count += 1
            self.answer(200, "\n".join(_grown(line, count) for line in text.splitlines()) + "\n")

    with serving(Growing, host="0.0.0.0") as port:  # noqa: S104 - the API server connects to it
        yield port


def _grown(line: str, count: int) -> str:
    series, _, value = line.rpartition(" ")
    if line.startswith("#") or "age_seconds" in series or "leader" in series:
        return line
    is_passed = any(word in series for word in ("accepted", "forwarded", 'class="2"'))
    return f"{series} {float(value) * count * (20 if is_passed else 1)}"
