"""Pods that no kubelet runs, whose metrics a server of the tests answers through the API server."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

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


def add_service(plane: ControlPlane, namespace: str, name: str, port: int) -> None:
    """A Service as the Prometheus Operator makes it, which leads to a port of this machine."""
    plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    labels = {"operated-prometheus": "true"}
    ports = [{"name": "web", "port": port, "protocol": "TCP"}]
    document = {"metadata": {"name": name, "labels": labels}, "spec": {"ports": ports}}
    plane.admin.create(f"/api/v1/namespaces/{namespace}/services", document)
    # The API server forwards to addresses of Pods alone.
    add_pod(plane, namespace, name, labels, port, port_name="web")
    pod = plane.admin.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]
    target = {"kind": "Pod", "namespace": namespace, "name": name, "uid": pod["uid"]}
    ready = {"conditions": {"ready": True}, "targetRef": target}
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    labels = {"kubernetes.io/service-name": name}
    plane.admin.create(slices, {
        "metadata": {"name": name, "labels": labels}, "addressType": "IPv4", "ports": ports,
        "endpoints": [{"addresses": [reachable_address()], **ready}],
    })  # fmt: skip


@contextmanager
def forwarding(url: str) -> Iterator[int]:
    """Lead requests at a port of every address to a URL; yields the port."""

    class Forwarding(Handler):
        def do_GET(self) -> None:
            with urlopen(url + self.path, timeout=30) as answer:  # noqa: S310 - of the tests
                self.answer(200, answer.read())

    with serving(Forwarding, host="0.0.0.0") as port:  # noqa: S104 - the API server connects to it
        yield port


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
