"""HTTP requests and responses of the API server, and a request on its way to a handler."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from daypass._core.kubernetes.objects import Object
from daypass.local.apiserver import errors, protobuf
from daypass.local.apiserver.errors import quote
from daypass.local.apiserver.kinds import AUTHORIZATION_POLICY, Kind
from daypass.local.apiserver.rbac import Attributes, User
from daypass.local.apiserver.schema import JSON, ShapeError, parse, read
from daypass.local.apiserver.state import ServerState

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"get": "list", "delete": "deletecollection"}


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
    def is_well_formed(self) -> bool:
        """Whether the target is a path in which every percent sign begins an escape."""
        path = self.target.partition("?")[0]
        return path.startswith("/") and not re.search("%(?![0-9A-Fa-f]{2})", path)

    @property
    def wants_metadata(self) -> bool:
        """Whether the answer is to contain only the metadata of its objects."""
        first = self.header("accept").partition(",")[0].replace(" ", "")
        kinds = ("PartialObjectMetadata", "PartialObjectMetadataList")
        wanted = [{"application/json", f"as={kind}", "g=meta.k8s.io", "v=v1"} for kind in kinds]
        return set(first.split(";")) in wanted

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> Query:
        """The parameters, without what cannot be parsed."""
        try:
            text = self.target.partition("?")[2]
            return Query(parse_qs(text, keep_blank_values=True, max_num_fields=100))
        except ValueError:
            return Query({})

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
            is_watch = verb == "get" and self.query.flag("watch")
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


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a request; of a repeated one the first is used."""

    values: dict[str, list[str]]

    def text(self, name: str) -> str:
        """Return a parameter, or an empty string."""
        return self.values.get(name, [""])[0]

    def flag(self, name: str) -> bool:
        """Return a parameter as apimachinery reads a bool: true unless it is `false` or `0`."""
        return name in self.values and self.text(name).lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """Return a whole number, or None if the parameter is absent. Raises the 400."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch("[0-9]{1,18}", text):
            raise errors.bad_request(f"{name}: {quote(text[:64])} is not a number")
        return int(text)


@dataclass(slots=True, kw_only=True)
class ApiResponse:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, document: Any, status: int = 200) -> ApiResponse:
        return cls(status=status, body=to_json(document))

    @classmethod
    def of_text(cls, text: str, status: int = 200) -> ApiResponse:
        content_type = "text/plain; charset=utf-8"
        return cls(status=status, body=text.encode(), content_type=content_type)


def to_json(document: Any) -> bytes:
    """Return a line of JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    return text.encode("utf-8", "replace")


def warning_headers(warnings: Iterable[str]) -> list[tuple[str, str]]:
    """Return Warning headers (RFC 9111), each text once."""
    texts = ("".join(c for c in text if c.isprintable()) for text in dict.fromkeys(warnings))
    return [("Warning", f"299 - {quote(text)}") for text in texts]


@dataclass(slots=True, kw_only=True)
class ApiCall:
    """An authorized request for a kind, or for one object of it."""

    state: ServerState
    request: ApiRequest
    query: Query
    user: User
    kind: Kind
    namespace: str
    name: str
    warnings: list[str] = field(default_factory=list)

    def live(self) -> Object:
        """Return the object that the request names. Raises the 404."""
        found = self.state.store.get(self.kind, self.namespace, self.name)
        if found is None:
            raise errors.not_found(self.kind.group, self.kind.plural, self.name)
        return found

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return bool(self.query.values.get("dryRun"))

    def decode(self, kind: Kind | None = None) -> Object:
        """Return the body as an object of a kind, by default the call's. Raises the 4xx."""
        kind, media = kind or self.kind, self.request.media_type
        is_built_in = kind is not AUTHORIZATION_POLICY
        if media not in ("", JSON) and not (is_built_in and media == protobuf.MEDIA_TYPE):
            raise errors.unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: "
                + ", ".join((JSON, protobuf.MEDIA_TYPE)[: 1 + is_built_in])
            )
        return self.convert(self.parse(kind), kind)

    def parse(self, kind: Kind) -> Any:
        """Return the body as JSON has it. Raises the 400."""
        try:
            if self.request.media_type == protobuf.MEDIA_TYPE:
                return protobuf.parse(self.request.body, kind.shape)
            return parse(self.request.body)
        except (ShapeError, protobuf.ProtobufError) as error:
            what = f"the object provided is unrecognized (must be of type {kind.kind})"
            raise errors.bad_request(f"{what}: {error}") from None

    def convert(self, value: Any, kind: Kind) -> Object:
        """Return a parsed body as an object of a kind in this call's namespace. Raises the 400."""
        head = value if isinstance(value, dict) else {}
        version, name = head.get("apiVersion") or kind.api_version, head.get("kind") or kind.kind
        what = f"{name} in version {quote(str(version))} cannot be handled as a {kind.kind}: "
        if (version, name) != (kind.api_version, kind.kind):
            raise errors.bad_request(what + "the path is for another kind")
        unknown: list[str] = []
        try:
            obj = read(value, kind.shape, "", unknown)
        except ShapeError as error:
            raise errors.bad_request(what + str(error)) from None
        if unknown and self.query.text("fieldValidation") == "Strict":
            raise errors.bad_request(f"{what}strict decoding error: {', '.join(unknown)}")
        self.warnings += unknown
        metadata = dict(obj.get("metadata", {}))
        if metadata.pop("namespace", self.namespace) not in ("", self.namespace):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        if self.namespace and kind.namespaced:
            metadata["namespace"] = self.namespace
        return {"kind": kind.kind, "apiVersion": kind.api_version, **obj, "metadata": metadata}
