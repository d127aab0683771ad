"""An API server that lists and watches, without a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from support.authority import ANY_AUTHORITY


class WatchedApi(httpx2.BaseTransport):
    """Secrets, ServiceAccounts and ConfigMaps; each watch tells what is new, and ends.

    `fails`: what every request gets instead. `forgotten`: watches from before it are a 410.
    `forbidden`: namespaces and kinds whose objects may not be seen. `breaks`: how often watches
    break off at an event, by its version; `breaking`: the error, or half a line where it is None.
    """

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, dict[str, Any]] = {
            "secrets": {}, "serviceaccounts": {}, "configmaps": {}, "namespaces": {},
        }  # fmt: skip
        self.events: list[tuple[int, str, str, Any]] = []
        self.forgotten = 0
        self.fails: int | None = None
        self.forbidden: set[str] = set()
        self.breaks: dict[int, int] = {}
        self.breaking: type[httpx2.TransportError] | None = None
        self.asked: list[httpx2.Request] = []

    def put(self, plural: str, uid: str, **metadata: Any) -> None:
        self.version += 1
        data = metadata.pop("data", None)
        found = {"metadata": {"uid": uid, "name": uid, "namespace": "team", **metadata,
                 "resourceVersion": str(self.version)}, "data": data}  # fmt: skip
        what = "MODIFIED" if uid in self.objects[plural] else "ADDED"
        self.objects[plural][uid] = found
        self.events.append((self.version, plural, what, found))

    def delete(self, plural: str, uid: str) -> None:
        self.version += 1
        found = self.objects[plural].pop(uid)
        found["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, plural, "DELETED", found))

    def lists(self, plural: str) -> int:
        return sum(
            r.url.path.endswith(plural) and "watch" not in r.url.params for r in list(self.asked)
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if self.fails == 0:
            raise httpx2.ConnectError("refused", request=request)
        if self.fails is not None:
            return httpx2.Response(self.fails, json=status(self.fails))
        plural, place = request.url.path.rpartition("/")[2], _namespace(request.url.path)
        if place in self.forbidden or plural in self.forbidden:
            return httpx2.Response(403, json=status(403))
        if "watch" not in request.url.params:
            items = [each for each in list(self.objects[plural].values()) if _is_in(each, place)]
            metadata = {"resourceVersion": str(self.version)}
            return httpx2.Response(200, json={"metadata": metadata, "items": items})
        return httpx2.Response(200, content=self._watch(plural, place, request))

    def _watch(self, plural: str, place: str, request: httpx2.Request) -> Iterator[bytes]:
        since = int(request.url.params["resourceVersion"])
        if since < self.forgotten:
            yield line("ERROR", status(410))
            return
        for version, kind, what, found in list(self.events):
            if version > since and kind == plural and _is_in(found, place):
                if self.breaks.get(version, 0) > 0:
                    self.breaks[version] -= 1
                    if self.breaking is not None:
                        raise self.breaking("broken")
                    yield line(what, found)[:-10]
                    return
                yield line(what, found)


def status(code: int) -> dict[str, Any]:
    message = 'User "reader" cannot list resource "secrets" in API group "" at the cluster scope'
    return {"kind": "Status", "code": code, "message": message}


def _namespace(path: str) -> str:
    return path.split("/")[4] if path.startswith("/api/v1/namespaces/") else ""


def _is_in(found: Any, namespace: str) -> bool:
    return namespace in ("", found["metadata"]["namespace"])


def line(what: str, found: Any) -> bytes:
    event = {"type": what, "object": found}
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"  # as Go writes it


def cluster_of(api: httpx2.BaseTransport, clock: Clock = SYSTEM_CLOCK) -> Cluster:
    """A Cluster in front of an API server without a socket, that never sleeps."""
    access = ConnectionConfig(
        server="https://api.test", namespace="default", origin="a test", authority=ANY_AUTHORITY
    )
    return Cluster(access, transport=api, clock=clock, sleep=lambda _: None)
