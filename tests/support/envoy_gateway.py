"""A real Envoy Gateway on a test's cluster, and the Envoys that it starts for Gateways there."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.gobuild import built

from daypass._core.kubernetes.objects import Object
from daypass.local.envoy import find_envoy
from support.admin import Document
from support.children import Child
from support.clusters import admin_cluster, apply
from support.controlplane import ControlPlane
from support.crds import install_envoy_gateway
from support.deadline import eventually
from support.objects import make
from support.ports import free_ports

NAMESPACE = "envoy-gateway-system"
CLASS = "eg"
_CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
_GROUP = "gateway.networking.k8s.io"
_OWN = "gateway.envoyproxy.io/v1alpha1"
_VERSION = "1.39.1"
"""Of the Envoy that it looks for: a folder's name, where the wheel's own is put."""

_FIXED_PORT = 18000


def prepare(plane: ControlPlane) -> None:
    """The kinds, its namespace and a GatewayClass whose Envoys run on this machine."""
    install_envoy_gateway(plane)
    # Each Gateway has an Envoy, and there may be others on this machine.
    settings = {"concurrency": 1, "extraArgs": ["--disable-hot-restart"]}
    provider = {"type": "Host", "host": {"envoyVersion": _VERSION}}
    proxy = make(_OWN, "EnvoyProxy", CLASS, NAMESPACE, spec={"provider": provider, **settings})
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": CLASS}
    spec = {"controllerName": _CONTROLLER, "parametersRef": {**parameters, "namespace": NAMESPACE}}
    gateway_class = make(f"{_GROUP}/v1", "GatewayClass", CLASS, spec=spec)
    apply(plane, namespace(NAMESPACE), proxy, gateway_class)


def endpoints(service: str, namespace: str, port: int) -> Object:
    """The endpoints of a Service on this machine. By name: Kubernetes takes no loopback address,
    and every name below `localhost` is one (RFC 6761).
    """
    document = make(
        "discovery.k8s.io/v1", "EndpointSlice", service, namespace,
        addressType="FQDN",
        endpoints=[{"addresses": [f"{service}.localhost"], "conditions": {"ready": True}}],
        ports=[{"name": "https", "port": port, "protocol": "TCP"}],
    )  # fmt: skip
    document["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    return document


def namespace(name: str) -> Object:
    return make("v1", "Namespace", name)


def service(name: str, namespace: str, port: int) -> Object:
    """A Service with distinct `endpoints`."""
    ports = [{"name": "https", "port": port, "targetPort": port}]
    return make("v1", "Service", name, namespace, spec={"ports": ports})


def gateway(name: str, namespace: str, *listeners: Document) -> Object:
    spec = {"gatewayClassName": CLASS, "listeners": list(listeners)}
    return make(f"{_GROUP}/v1", "Gateway", name, namespace, spec=spec)


def listener(name: str, port: int, *, host: str | None = None, secret: str | None = None) -> Any:
    """A listener for routes of every namespace; with TLS where there is a Secret for it."""
    tls = {"mode": "Terminate", "certificateRefs": [{"name": secret}]}
    return {
        "name": name,
        "port": port,
        "protocol": "HTTPS" if secret else "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}},
        **({"hostname": host} if host else {}),
        **({"tls": tls} if secret else {}),
    }


def route(name: str, namespace: str, *, gateway: str, host: str, service: str) -> Object:
    """An HTTPRoute of a host's every path to port 80 of a Service. `gateway`: NAMESPACE/NAME, and
    /LISTENER where it is for one.
    """
    where, whom, *section = gateway.split("/")
    parent = {"namespace": where, "name": whom}
    spec = {
        "parentRefs": [{**parent, "sectionName": section[0]} if section else parent],
        "hostnames": [host],
        "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
    }
    return make(f"{_GROUP}/v1", "HTTPRoute", name, namespace, spec=spec)


def delete(plane: ControlPlane, document: Object) -> None:
    with admin_cluster(plane) as cluster:
        resource, metadata = cluster.resource(document), document["metadata"]
    plane.admin.delete(resource.path(metadata.get("namespace"), metadata["name"]))


def find(plane: ControlPlane, document: Object) -> Object | None:
    with admin_cluster(plane) as cluster:
        resource, metadata = cluster.resource(document), document["metadata"]
        return cluster.find(resource, metadata["name"], metadata.get("namespace"))


def conditions(plane: ControlPlane, document: Object) -> dict[str, tuple[str, str]]:
    """What the controllers say of an object: status and message by type of the condition.

    A message that is said of one of its ancestors or listeners counts for the whole.
    """
    found = find(plane, document) or {}
    status = found.get("status") or {}
    nested = [*status.get("ancestors", ()), *status.get("parents", ())]
    said = [each for one in (status, *nested) for each in one.get("conditions", ())]
    generation = found.get("metadata", {}).get("generation")
    return {
        each["type"]: (each["status"], each.get("message", ""))
        for each in said
        if each.get("observedGeneration", generation) == generation
    }


@contextmanager
def running_envoy_gateway(folder: Path, plane: ControlPlane) -> Iterator[Child]:
    """Envoy Gateway on the cluster; after `prepare`. It runs once on a machine: others wait.

    While it is suspended, the Envoys that it has started go on.
    """
    program = str(built("envoygateway"))
    with _alone():
        health, webhook, admin = free_ports(3)
        environment = {
            **os.environ,
            "KUBECONFIG": str(plane.kubeconfig),
            "WEBHOOK_PORT": str(webhook),
            "HEALTH_ADDRESS": f"127.0.0.1:{health}",
            "HOME": str(folder),
        }
        for arguments in (
            ["certgen", "--local", "--config-home", str(folder / "config")],
            ["certgen", "--disable-topology-injector"],
        ):
            subprocess.run(
                [program, *arguments], env=environment, check=True, capture_output=True, timeout=120
            )
        (folder / "certs").symlink_to(folder / "config" / "certs" / "envoy-gateway")
        envoy = folder / "data" / "envoy-versions" / _VERSION / "bin" / "envoy"
        envoy.parent.mkdir(parents=True)
        envoy.symlink_to(find_envoy())
        (folder / "envoy-gateway.json").write_text(json.dumps(_config(folder, admin)))
        control = Child(
            [program, "server", "--config-path", str(folder / "envoy-gateway.json")],
            log=folder / "envoy-gateway.log",
            folder=folder,
            environment=environment,
        )
        try:
            eventually("Envoy Gateway is ready", lambda: _ready(control, health), seconds=120)
            yield control
        finally:
            control.stop(grace_seconds=20)


@contextmanager
def _alone() -> Iterator[None]:
    """While nobody else on this machine runs it in tests, and its fixed port is free."""
    with (Path(tempfile.gettempdir()) / f"daypass-envoy-gateway.{os.getuid()}").open("w") as lock:
        eventually("no other test runs Envoy Gateway", lambda: _lock(lock.fileno()), seconds=900)
        eventually("its port is free", _port_is_free, seconds=120)
        yield


def _lock(file: int) -> bool:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def _port_is_free() -> bool:
    socket.create_server(("127.0.0.1", _FIXED_PORT)).close()
    return True


def _ready(control: Child, port: int) -> bool:
    control.check()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)


def _config(folder: Path, admin: int) -> Document:
    places = {
        "configHome": "config", "dataHome": "data", "stateHome": "state", "runtimeDir": "run",
    }  # fmt: skip
    host = {key: str(folder / name) for key, name in places.items()}
    resource = {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}}
    return {
        "apiVersion": _OWN,
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": _CONTROLLER},
        "provider": {
            "type": "Custom",
            "custom": {"resource": resource, "infrastructure": {"type": "Host", "host": host}},
        },
        "admin": {"address": {"host": "127.0.0.1", "port": admin}},
        "telemetry": {"metrics": {"prometheus": {"disable": True}}},
    }
