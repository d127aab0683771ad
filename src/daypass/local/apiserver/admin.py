"""The cluster's administrator in this process: the same checks as over the wire, no sockets."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from daypass._core.secret import Secret
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.errors import StatusError
from daypass.local.apiserver.kinds import STORED, Kind
from daypass.local.apiserver.reading import Watch
from daypass.local.apiserver.requests import ApiRequest
from daypass.local.apiserver.store import Object

_KINDS = {kind.kind: kind for kind in STORED}
MANAGER = "daypass-local"


class Admin:
    """Makes, reads, applies and deletes objects; kinds by name, as in `ServiceAccount`.

    What the API server refuses is raised as ApiError.
    """

    def __init__(self, api: Api, token: Secret) -> None:
        self._api = api
        self._token = token

    def create(self, obj: Object) -> Object:
        """Make an object; its metadata says where."""
        return self.request("POST", _path(obj["kind"], _namespace(obj)), obj)

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """One object."""
        return self.request("GET", _path(kind, namespace, name))

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        """All objects of a kind, of one namespace or of all."""
        items: list[Object] = self.request("GET", _path(kind, namespace, every=True))["items"]
        return items

    def apply(self, obj: Object, *, manager: str = MANAGER) -> Object:
        """Make an object, or make it so: server-side apply, by force."""
        path = _path(obj["kind"], _namespace(obj), obj["metadata"]["name"])
        query = f"?fieldManager={quote(manager, safe='')}&force=true"
        return self.request("PATCH", path + query, obj, "application/apply-patch+yaml")

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Remove an object."""
        self.request("DELETE", _path(kind, namespace, name))

    def listeners(self) -> int:
        """How many are told of changes: watchers, and the server itself."""
        return len(self._api.cluster.store.listeners)

    def request(
        self, method: str, target: str, document: Any = None, media: str = "application/json"
    ) -> Object:
        """Any request that is answered at once."""
        headers = [("authorization", f"Bearer {self._token.reveal()}"), ("user-agent", MANAGER)]
        if document is not None:
            headers.append(("content-type", media))
        body = b"" if document is None else json.dumps(document).encode()
        answer = self._api.handle(
            ApiRequest(method=method, target=target, headers=tuple(headers), body=body)
        )
        if isinstance(answer, Watch):
            raise TypeError("a watch is not answered at once")
        read: Object = json.loads(answer.body)
        if answer.status >= 400:
            raise StatusError(
                answer.status, read.get("reason", ""), read["message"], read.get("details")
            )
        return read


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _path(name: str, namespace: str, *rest: str, every: bool = False) -> str:
    kind: Kind = _KINDS[name]
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    place = ["namespaces", namespace] if kind.namespaced and not (every and not namespace) else []
    return "/".join([root, *(quote(part, safe="") for part in (*place, kind.plural, *rest))])
