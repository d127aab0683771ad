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
Plugin = Callable[[dict[str, str]], dict[str, Any]]
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
            environ: dict[str, str] | None = None, context: ssl.SSLContext | None = None,
            sleeps: list[float] | None = None, path: str = "", **cluster: object,
        ) -> tuple[Cluster, FakeDoor]:  # fmt: skip
            server = FakeDoor(*script, context=context or authority.context(name))
            stack.enter_context(server)
            fields = {
                "server": f"https://127.0.0.1:{server.port}{path}",
                "certificate-authority-data": base64.b64encode(authority.pem.encode()).decode(),
                **cluster,
            }
            file = write(cluster=fields, user=user or {"token": "t"})
            config = find_connection_config(environ or {}, kubeconfig=str(file))
            sleep = ([] if sleeps is None else sleeps).append
            cluster_ = Cluster(config, sleep=sleep)
            stack.callback(cluster_.close)
            return cluster_, server

        yield make


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """The user of a credential plugin that prints this status; `$n` is the number of its run."""

    def make(status: dict[str, str]) -> dict[str, Any]:
        file, version = tmp_path / "plugin", "client.authentication.k8s.io/v1"
        document = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
        count = f"echo >> {tmp_path}/runs\nn=$(wc -l < {tmp_path}/runs | tr -d ' ')"
        escaped = document.replace("\\", "\\\\")
        file.write_text(f"#!/bin/sh\n{count}\ncat <<END\n{escaped}\nEND\n")
        file.chmod(0o700)
        return {"exec": {"apiVersion": version, "command": str(file), "interactiveMode": "Never"}}

    return make
