"""A short way to write a kubeconfig, and an API server whose answers a test sets."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.kube.answers import Selection
from daypass.kube.cluster import Cluster
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import Resource
from daypass.kube.watching import AsyncCluster
from support.authority import Authority
from support.fake_door import Behaviour, FakeDoor, answer
from support.watched_api import whole

Write = Callable[..., Path]
Open = Callable[..., tuple[Cluster, FakeDoor]]
Script = Callable[[str], str]
V1 = "client.authentication.k8s.io/v1"
EMPTY = answer(200, json.dumps({"items": [], "metadata": {"resourceVersion": "7"}}))
OBJECT = answer(200, json.dumps({"metadata": {"name": "x"}}))


def authorization(server: FakeDoor) -> list[str]:
    lines = [line for request in server.requests for line in request.decode().split("\r\n")]
    return [line.split(": ", 1)[1] for line in lines if line.lower().startswith("authorization:")]


def list_async(cluster: Cluster, resource: Resource) -> list[Object]:
    """List in an event loop, at the same API server."""

    async def ask() -> list[Object]:
        watching = AsyncCluster(cluster.connection, clock=cluster.clock)
        try:
            return (await watching.list(Selection(resource=resource), whole))[0]
        finally:
            await watching.close()

    return asyncio.run(ask())


def watch_async(cluster: Cluster, resource: Resource) -> list[tuple[str, Object]]:
    """Watch to the end, at the same API server."""

    async def ask() -> list[tuple[str, Object]]:
        watching = AsyncCluster(cluster.connection, clock=cluster.clock)
        try:
            events = watching.watch(Selection(resource=resource), "1", timeout_seconds=60)
            return [event async for event in events]
        finally:
            await watching.close()

    return asyncio.run(ask())


@pytest.fixture(scope="session")
def authority() -> Authority:
    """An authority that the kubeconfigs of these tests trust."""
    return Authority("fake door authority")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a kubeconfig with one context; the arguments are the fields of cluster and user."""

    def make(
        name: str = "config",
        *,
        cluster: dict[str, Any] | None = None,
        user: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        entry: str = "one",
        **top: object,
    ) -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": entry,
            "contexts": [
                {"name": entry, "context": {"cluster": entry, "user": entry, **(context or {})}}
            ],
            "clusters": [
                {
                    "name": entry,
                    "cluster": {"server": f"https://{entry}.test:6443"} | (cluster or {}),
                }
            ],
            "users": [{"name": entry, "user": user or {}}],
            **top,
        }
        file.write_text(json.dumps(document))
        return file

    return make


@pytest.fixture
def opened(write: Write, authority: Authority) -> Iterator[Open]:
    """A cluster, by a kubeconfig, whose API server follows a script."""
    with ExitStack() as stack:

        def make(
            *script: bytes | Behaviour, name: str = "127.0.0.1", user: dict[str, Any] | None = None,
            context: ssl.SSLContext | None = None, sleeps: list[float] | None = None,
            **cluster: object,
        ) -> tuple[Cluster, FakeDoor]:  # fmt: skip
            server = FakeDoor(*script, context=context or authority.context(name))
            stack.enter_context(server)
            fields = {
                "server": f"https://127.0.0.1:{server.port}",
                "certificate-authority-data": base64.b64encode(authority.pem.encode()).decode(),
                **cluster,
            }
            file = write(cluster=fields, user=user or {"token": "t"})
            config = find_connection_config({}, kubeconfig=str(file))
            opened = Cluster(config, sleep=([] if sleeps is None else sleeps).append)
            stack.callback(opened.close)
            return opened, server

        yield make


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A plugin that records KUBERNETES_EXEC_INFO, and then runs this as its `$n`th run."""

    def make(body: str) -> str:
        file, told = tmp_path / "plugin", tmp_path / "told"
        record = f'printf "%s\\n" "$KUBERNETES_EXEC_INFO" >> {told}; n=$(grep -c "" < {told})'
        file.write_text(f"#!/bin/sh\n{record}\n{body}\n")
        file.chmod(0o700)
        return str(file)

    return make


def printing(version: str = V1, **status: object) -> str:
    """A body that prints a credential; `$n` in it is the number of the run."""
    document = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    return f"cat <<END\n{json.dumps(document)}\nEND".replace("\\", "\\\\")


def user_of(plugin: str) -> dict[str, Any]:
    return {"exec": {"apiVersion": V1, "command": plugin, "interactiveMode": "Never"}}
