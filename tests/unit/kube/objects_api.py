"""An API server that keeps single objects, and minds their resourceVersion, without a socket."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass.kube.cluster import Cluster
from support.watched_api import cluster_of


class ObjectsApi(httpx2.BaseTransport):
    """GET, server-side apply, merge patches, and JSON patches that add, by path.

    `written`: the names, in order. `meanwhile`: called once, before the next write. `fails_after`:
    so many writes more it takes. `loses_answers`: of so many writes, which it takes. `refuses`: the
    names of objects whose content it does not take, as if they were too large. `denies`: what is
    answered to each request below a path, such as that of a namespace.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []
        self.meanwhile: list[Callable[[], object]] = []
        self.fails = False
        self.refuses: set[str] = set()
        self.denies: dict[str, int] = {}
        self.fails_after: int | None = None
        self.loses_answers = 0
        self._managers: dict[str, str] = {}
        self._version = 0

    def cluster(self, clock: Clock = SYSTEM_CLOCK) -> Cluster:
        """A Cluster in front of it, that never sleeps."""
        return cluster_of(self, clock)

    def touch(self, path: str, **metadata: Any) -> None:
        """Change an object's metadata, as another user does."""
        self._store(path, _merged(self.objects[path], {"metadata": metadata}))

    def put(self, path: str, document: Any) -> None:
        """Replace an object, as a restore of a backup does."""
        self._store(path, copy.deepcopy(document))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if self.fails:
            raise httpx2.ConnectError("refused", request=request)
        for where, code in self.denies.items():
            if path.startswith(where):
                return _status(code)
        if request.method == "GET":
            found = self.objects.get(path)
            return _status(404) if found is None else _answer(request, found)
        if self.fails_after is not None:
            if self.fails_after == 0:
                raise httpx2.ConnectError("refused", request=request)
            self.fails_after -= 1
        if self.meanwhile:
            self.meanwhile.pop()()
        found = self.objects.get(path)
        change = _change(json.loads(request.read()), found)
        if change.get("spec", {}).get("leaseTransitions", 0) >= 2**31:  # an int32
            return _status(400)
        is_whole = "json-patch" in request.headers["content-type"]
        is_content = change.keys() - (found or {}).keys() or any(
            change[key] != (found or {}).get(key) for key in ("data", "spec") if key in change
        )
        if is_whole and is_content and path.rpartition("/")[2] in self.refuses:
            return _status(422)
        version = change["metadata"].get("resourceVersion")
        current = found and found["metadata"]["resourceVersion"]
        if version is not None and version != current:
            return _status(409 if found else 404)
        is_apply = "apply-patch" in request.headers["content-type"]
        if found is None and not is_apply:
            return _status(404)
        manager = request.url.params["fieldManager"]
        if is_apply and found and request.url.params["force"] != "true":
            is_other = self._managers[path] != manager
            if is_other and _differs(found, change):
                return _status(409)
        self.written.append(path.rpartition("/")[2])
        self._managers[path] = manager
        made = self._store(path, change if is_whole else _merged(found or {}, change))
        if self.loses_answers:
            self.loses_answers -= 1
            raise httpx2.ReadError("lost", request=request)
        return _answer(request, made)

    def _store(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = document
        self._managers.setdefault(path, "")
        return document


def _answer(request: httpx2.Request, document: dict[str, Any]) -> httpx2.Response:
    is_partial = "PartialObjectMetadata" in request.headers["accept"]
    return httpx2.Response(200, json={"metadata": document["metadata"]} if is_partial else document)


def _change(sent: Any, found: Any) -> Any:
    """What is sent, or the object that a JSON patch makes of the one that is there."""
    if not isinstance(sent, list):
        return sent
    whole = copy.deepcopy(found or {"metadata": {}})
    for each in sent:
        *parents, last = each["path"].split("/")[1:]
        place = whole
        for name in parents:
            place = place[name]
        place[last] = each["value"]
    return whole


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    whole = {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return {key: value for key, value in whole.items() if value is not None}


def _differs(old: Any, new: Any) -> bool:
    """Whether a field has two values."""
    if isinstance(old, dict) and isinstance(new, dict):
        return any(_differs(old[key], new[key]) for key in old.keys() & new.keys())
    return bool(old != new)


def _status(code: int) -> httpx2.Response:
    reason = {
        400: "BadRequest", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 422: "Invalid",
        500: "InternalError",
    }[code]  # fmt: skip
    document = {"kind": "Status", "code": code, "reason": reason, "message": reason}
    return httpx2.Response(code, json=document)
