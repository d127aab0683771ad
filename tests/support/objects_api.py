"""An API server that keeps single objects, and minds their resourceVersion, without a socket."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass.kube.cluster import Cluster
from support.watched_api import cluster_of


class ObjectsApi(httpx2.BaseTransport):
    """GET, server-side apply and merge patches. `written`: the names, in order.

    `meanwhile`: called once, before the next write. `fails_after`: so many writes more it takes.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []
        self.meanwhile: list[Any] = []
        self.fails = False
        self.fails_after: int | None = None
        self._version = 0

    def cluster(self, clock: Clock = SYSTEM_CLOCK) -> Cluster:
        """A Cluster in front of it, that never sleeps."""
        return cluster_of(self, clock)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if self.fails:
            raise httpx2.ConnectError("refused", request=request)
        if request.method == "GET":
            found = self.objects.get(path)
            return _status(404) if found is None else httpx2.Response(200, json=found)
        if self.fails_after is not None:
            if self.fails_after == 0:
                raise httpx2.ConnectError("refused", request=request)
            self.fails_after -= 1
        if self.meanwhile:
            self.meanwhile.pop()()
        change = json.loads(request.read())
        found = self.objects.get(path)
        version = change["metadata"].get("resourceVersion")
        current = found and found["metadata"]["resourceVersion"]
        if version is not None and version != current:
            return _status(409)
        is_apply = "apply-patch" in request.headers["content-type"]
        if found is None and not is_apply:
            return _status(404)
        self._version += 1
        self.written.append(path.rpartition("/")[2])
        made = _merged(found or {}, change)
        made["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = made
        return httpx2.Response(200, json=made)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    whole = {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return {key: value for key, value in whole.items() if value is not None}


def _status(code: int) -> httpx2.Response:
    reason = {404: "NotFound", 409: "Conflict"}[code]
    document = {"kind": "Status", "code": code, "reason": reason, "message": reason}
    return httpx2.Response(code, json=document)
