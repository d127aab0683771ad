"""HTTP requests and responses of the API server, its errors, and a request on its way to a handler.

Errors are worded as in k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.status import failure
from daypass.local.apiserver.kinds import Kind
from daypass.local.apiserver.rbac import Attributes, User
from daypass.local.apiserver.state import ServerState

BODY_LIMIT_BYTES = 3 * 1024 * 1024
JSON = "application/json"
_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"get": "list", "delete": "deletecollection"}


_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    405: "MethodNotAllowed", 410: "Expired", 413: "RequestEntityTooLarge", 422: "Invalid",
    415: "UnsupportedMediaType", 500: "InternalError",
}  # fmt: skip


class StatusError(Exception):
    """A v1.Status that reports a failure."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.status = failure(code, reason or _REASONS[code], message)


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def not_found(kind: Kind, name: str) -> StatusError:
    return StatusError(404, f"{kind.resource} {quote(name)} not found")


def unsupported_media_type(accepted: str) -> StatusError:
    what = "the body of the request was in an unknown format - accepted media types include: "
    return StatusError(415, what + accepted)


def conflict(resource: str, name: str, why: str) -> StatusError:
    """Return the 409 for an object that is not as the caller expects."""
    return StatusError(409, f"Operation cannot be fulfilled on {resource} {quote(name)}: {why}")


def invalid(kind: Kind, name: str, field: str, why: str) -> StatusError:
    """Return the 422 for a field of an object."""
    what = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return StatusError(422, f"{what} {quote(name)} is invalid: {field}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A whole request. Header names are in lower case; `target` is as it was sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header's first value, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def media_type(self) -> str:
        """The media type of the body, or an empty string."""
        return self.header("content-type").partition(";")[0].strip().lower()

    @property
    def wants_metadata(self) -> bool:
        """Whether the answer is to contain only the metadata of its objects."""
        return "as=PartialObjectMetadata" in self.header("accept")

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    def parameter(self, name: str) -> str:
        """Return a parameter's first value, or an empty string."""
        return parse_qs(self.target.partition("?")[2]).get(name, [""])[0]

    def number(self, name: str) -> int:
        """Return a parameter as a whole number, 0 if it is none."""
        text = self.parameter(name)[:18]
        return int(text) if text.isdecimal() else 0

    @property
    def is_watch(self) -> bool:
        return self.parameter("watch") in ("1", "true")

    def attributes(self, user: User) -> Attributes:
        """Return what the authorizer judges and the router follows.

        Each segment is decoded separately, so that an escaped slash separates nothing. A path with
        more segments than an object's, or with an empty one, is no resource's.
        """
        path = self.target.partition("?")[0].removeprefix("/").removesuffix("/")
        match [unquote(part) for part in path.split("/")]:
            case ["api", "v1", *rest]:
                group = ""
            case ["apis", named, "v1", *rest] if named:
                group = named
            case _:
                group, rest = "", []
        is_resource, verb, namespace = "" not in rest, _VERBS.get(self.method, ""), ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        if not is_resource or not 1 <= len(rest) <= 3:
            return Attributes(user=user, verb=self.method.lower(), path=self.path)
        resource, name, subresource = [*rest, "", ""][:3]
        if resource == "namespaces":
            namespace = name
        if not name:
            is_watch = verb == "get" and self.is_watch
            verb = "watch" if is_watch else _COLLECTION_VERBS.get(verb, verb)
        return Attributes(
            user=user,
            verb=verb,
            group=group,
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=name,
        )


@dataclass(slots=True, kw_only=True)
class ApiResponse:
    """A response in JSON."""

    status: int
    body: bytes

    @classmethod
    def of(cls, document: Any, status: int = 200) -> ApiResponse:
        return cls(status=status, body=to_json(document))


def to_json(document: Any) -> bytes:
    """Return a line of JSON."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


@dataclass(slots=True, kw_only=True)
class ApiCall:
    """An authorized request for a kind, or for one object of it."""

    state: ServerState
    request: ApiRequest
    kind: Kind
    namespace: str
    name: str

    def live(self) -> Object:
        """Return the object that the request names. Raises the 404."""
        found = self.state.store.get(self.kind, self.namespace, self.name)
        if found is None:
            raise not_found(self.kind, self.name)
        return found

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return bool(self.request.parameter("dryRun"))

    def decode(self, kind: Kind) -> Object:
        """Return the body as an object of a kind. Raises the 4xx."""
        if self.request.media_type not in ("", JSON):
            raise unsupported_media_type(JSON)
        return self.convert(self.parse(), kind)

    def parse(self) -> Object:
        """Return the JSON object in the body. Raises the 400."""
        try:
            value = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise StatusError(400, f"the body is unrecognized: json parse error: {error}") from None
        if not isinstance(value, dict):
            raise StatusError(400, "the body is not an object")
        return value

    def convert(self, value: Object, kind: Kind) -> Object:
        """Return an object of a kind in this call's namespace. Raises the 400."""
        document = _without_nulls(value)
        version = document.get("apiVersion") or kind.api_version
        name = document.get("kind") or kind.kind
        what = f"{name} in version {quote(str(version))} cannot be handled as a {kind.kind}: "
        if (version, name) != (kind.api_version, kind.kind):
            raise StatusError(400, what + "the path is for another kind")
        if fault := kind.mismatch(document):
            raise StatusError(400, what + f"{fault} has another type")
        metadata = dict(document.get("metadata", {}))
        metadata.pop("managedFields", None)
        if (metadata.pop("namespace", "") or self.namespace) != self.namespace:
            raise StatusError(
                400,
                "the namespace of the provided object does not match the namespace sent on the "
                "request",
            )
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {**document, "apiVersion": version, "kind": name, "metadata": metadata}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value if each is not None]
    return value
