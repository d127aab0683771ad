"""An API server that lists and watches, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from support.authority import ANY_AUTHORITY

ACCESS = ConnectionConfig(
    server="https://api.test", namespace="default", origin="a test", authority=ANY_AUTHORITY
)
Document = dict[str, Any]


class WatchedApi(httpx2.AsyncBaseTransport):
    """Lists by label, in pages; watches last until `end_watches`, or their timeout.

    `fails`: what every request gets instead, 0 for no answer. `forbidden`: namespaces, kinds and
    `namespace/kind` whose objects may not be seen. `hangs`: kinds and `namespace/kind` whose lists
    are never answered. `installed`: the plurals of each GROUP/VERSION, the preferred version first.
    `lost`: versions whose events no watch gets. `breaks`: how often watches
    break off at the event of a version; `breaking`: the error, or half a line where it is None.
    `date`: its clock, as lists say it.
    `asked`: all requests.
    """

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[tuple[str, str], Document] = {}
        self.fails: int | None = None
        self.forbidden: set[str] = set()
        self.hangs: set[str] = set()
        self.installed: dict[str, list[str]] = {}
        self.lost: set[int] = set()
        self.breaks: dict[int, int] = {}
        self.breaking: type[httpx2.TransportError] | None = None
        self.date = ""
        self.asked: list[httpx2.Request] = []
        self._events: list[tuple[int, str, Document | None, Document | None]] = []
        self._pages: dict[str, list[Document]] = {}
        self._ended = 0

    def put(self, plural: str, uid: str, *, data: Any = None, **metadata: Any) -> None:
        """Create an object, or replace it; in namespace `team`, named like its UID."""
        metadata = {"uid": uid, "name": uid, "namespace": "team", **metadata}
        self._change(plural, uid, {"metadata": metadata, "data": data})

    def delete(self, plural: str, uid: str) -> None:
        """Delete an object."""
        self._change(plural, uid, None)

    def _change(self, plural: str, uid: str, after: Document | None) -> None:
        self.version += 1
        before = self.objects.pop((plural, uid), None)
        if after is not None:
            after["metadata"]["resourceVersion"] = str(self.version)
            self.objects[plural, uid] = after
        self._events.append((self.version, plural, before, after))

    def end_watches(self) -> None:
        """End all watches from lists until now, as after their timeout: those, too, that begin
        later.
        """
        self.version += 1
        self._ended = self.version

    def watches(self) -> list[httpx2.QueryParams]:
        """What the watches so far were asked with."""
        return [r.url.params for r in list(self.asked) if "watch" in r.url.params]

    def lists(self, plural: str, namespace: str = "") -> int:
        """How many lists of a kind were asked for, in a namespace."""
        return sum(
            r.url.path.endswith(plural)
            and _namespace(r.url.path) == namespace
            and "watch" not in r.url.params
            for r in list(self.asked)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if self.fails == 0:
            raise httpx2.ConnectError("refused", request=request)
        if self.fails is not None:
            return httpx2.Response(self.fails, json=status(self.fails))
        plural, place = request.url.path.rpartition("/")[2], _namespace(request.url.path)
        if self.forbidden & {plural, place, f"{place}/{plural}"}:
            return httpx2.Response(403, json=status(403))
        if request.url.path.startswith("/apis/") and request.url.path.count("/") <= 3:
            return self._discover(request.url.path.removeprefix("/apis/"))
        if "watch" in request.url.params:
            return httpx2.Response(200, stream=_Lines(self._watch(plural, place, request)))
        if self.hangs & {plural, f"{place}/{plural}"}:
            await asyncio.Event().wait()
        found, headers = self._list(plural, place, request.url.params), {"Date": self.date}
        return httpx2.Response(200, json=found, headers=headers)

    def _discover(self, path: str) -> httpx2.Response:
        versions = [each for each in self.installed if each.startswith(f"{path}/")]
        plurals = self.installed.get(path)
        if plurals is None and not versions:
            return httpx2.Response(404, text="404 page not found")
        kinds = [{"name": each, "kind": each.title(), "namespaced": True} for each in plurals or ()]
        found = {"versions": [{"groupVersion": each} for each in versions], "resources": kinds}
        return httpx2.Response(200, json=found)

    def _list(self, plural: str, place: str, params: httpx2.QueryParams) -> Document:
        objects = self.objects.items()
        found = [each for (kind, _), each in objects if kind == plural and _is_in(each, place)]
        found = [each for each in found if _is_selected(each, params)]
        if "continue" in params:
            found = self._pages[params["continue"]]
        limit = int(params["limit"])
        metadata = {"resourceVersion": str(self.version)}
        if len(found) > limit:
            metadata["continue"] = f"page-{len(self._pages)}"
            self._pages[metadata["continue"]] = found[limit:]
        return {"metadata": metadata, "items": found[:limit]}

    async def _watch(
        self, plural: str, place: str, request: httpx2.Request
    ) -> AsyncIterator[bytes]:
        since = begun = int(request.url.params["resourceVersion"])
        ends = SYSTEM_CLOCK.monotonic() + int(request.url.params["timeoutSeconds"])
        while self._ended <= begun and self.fails is None and SYSTEM_CLOCK.monotonic() < ends:
            for version, kind, before, after in list(self._events):
                if version <= since or kind != plural or version in self.lost:
                    continue
                since = version
                was, now = (
                    each is not None and _is_in(each, place)
                    and _is_selected(each, request.url.params)
                    for each in (before, after)
                )  # fmt: skip
                if not (was or now):
                    continue
                event = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
                sent = line(event, (after if now else before) or {})
                if self.breaks.get(version, 0) > 0:
                    self.breaks[version] -= 1
                    if self.breaking is not None:
                        raise self.breaking("broken")
                    yield sent[:-10]
                    return
                yield sent
            await asyncio.sleep(0.002)


class _Lines(httpx2.AsyncByteStream):
    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._lines


def status(code: int) -> Document:
    message = 'User "reader" cannot list resource "secrets" in API group "" at the cluster scope'
    return {"kind": "Status", "code": code, "message": message}


def _namespace(path: str) -> str:
    return path.split("/")[4] if path.startswith("/api/v1/namespaces/") else ""


def _is_in(found: Document, namespace: str) -> bool:
    return namespace in ("", found["metadata"]["namespace"])


def _is_selected(found: Document, params: httpx2.QueryParams) -> bool:
    metadata = found["metadata"]
    label, _, value = params.get("labelSelector", "").partition("=")
    _, _, name = params.get("fieldSelector", "").partition("metadata.name=")
    has_label = not label or metadata.get("labels", {}).get(label) == value
    return has_label and name in ("", metadata["name"])


def line(what: str, found: Any) -> bytes:
    event = {"type": what, "object": found}
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"  # as Go writes it


def cluster_of(api: httpx2.BaseTransport, clock: Clock = SYSTEM_CLOCK) -> Cluster:
    """A Cluster in front of an API server without a socket, that never sleeps."""
    return Cluster(ACCESS, transport=api, clock=clock, sleep=lambda _: None)


def whole(document: Document) -> Document:
    """What keeps all of an object that is listed."""
    return document
