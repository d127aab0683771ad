"""HTTP requests and responses of the API server, and a request on its way to a handler.

A path is read twice, as in the API server: `attributes` is what the authorizer judges
(apiserver/pkg/endpoints/request/requestinfo.go), `segments` is what the router matches. Both see
the path decoded once; `..` and empty segments are names like any other.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from daypass._core.clock import Clock, utc
from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import Cause, quote, unsupported
from daypass.local.apiserver.kinds import Kind
from daypass.local.apiserver.rbac import Attributes, User
from daypass.local.apiserver.schema import ObjectReader, ShapeError, media_type, parse
from daypass.local.apiserver.store import Object, Store
from daypass.local.apiserver.tokens import Issuer, KeyRing, TokenAuthenticator

_VERBS = {
    "POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch",
    "DELETE": "delete",
}  # fmt: skip
_SPECIAL = ("proxy", "watch")
MANAGER_LIMIT_CHARACTERS = 128


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
    def is_well_formed(self) -> bool:
        """Whether the target is a path in which every percent sign begins an escape."""
        path = self.target.partition("?")[0]
        return path.startswith("/") and not re.search("%(?![0-9A-Fa-f]{2})", path)

    @property
    def wants_metadata(self) -> bool:
        """Whether a list or a watch is to contain only the metadata of its objects."""
        first = self.header("accept").partition(",")[0].replace(" ", "")
        is_watch = Query.of(self).flag("watch")
        kind = "PartialObjectMetadata" if is_watch else "PartialObjectMetadataList"
        wanted = {"application/json", f"as={kind}", "g=meta.k8s.io", "v=v1"}
        return set(first.split(";")) == wanted

    @property
    def path(self) -> str:
        """The path, decoded once; bytes that are not UTF-8 become surrogates."""
        raw = unquote_to_bytes(self.target.partition("?")[0])
        return raw.decode("utf-8", "surrogateescape")

    @property
    def segments(self) -> list[str]:
        """The path's segments, without slashes at either end."""
        stripped = self.path.strip("/")
        return stripped.split("/") if stripped else []

    def attributes(self, user: User) -> Attributes:
        """Return what the authorizer judges."""
        parts = self.segments
        prefix = parts[0] if parts else ""
        needed = {"api": 3, "apis": 4}.get(prefix)
        if needed is None or len(parts) < needed:
            return Attributes(
                user=user, verb=self.method.lower(), path=self.path, is_resource=False
            )
        group = parts[1] if prefix == "apis" else ""
        parts = parts[needed - 1 :]
        verb = _VERBS.get(self.method, "")
        if parts[0] in _SPECIAL and len(parts) > 1:
            verb, parts = parts[0], parts[1:]
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 1:
            namespace = parts[1]
            if len(parts) > 2 and parts[2] not in ("status", "finalize"):
                parts = parts[2:]
        name = parts[1] if len(parts) > 1 else ""
        subresource = parts[2] if len(parts) > 2 and verb not in _SPECIAL else ""
        if not name:
            verb, name = self._collection_verb(verb)
        return Attributes(
            user=user, verb=verb, group=group, resource=parts[0], subresource=subresource,
            namespace=namespace, name=name,
        )  # fmt: skip

    def _collection_verb(self, verb: str) -> tuple[str, str]:
        if verb == "delete":
            return "deletecollection", ""
        if verb != "get":
            return verb, ""
        query = Query.of(self)
        exact = re.fullmatch("metadata.name==?([^,=!]+)", query.text("fieldSelector"))
        return "watch" if query.flag("watch") else "list", exact[1] if exact else ""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a request; of a repeated one the first is used."""

    values: dict[str, list[str]]

    @classmethod
    def of(cls, request: ApiRequest) -> Query:
        """Return the query of a request, without what cannot be parsed."""
        try:
            text = request.target.partition("?")[2]
            return cls(parse_qs(text, keep_blank_values=True, max_num_fields=100))
        except ValueError:
            return cls({})

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
    """A whole response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, document: Any, status: int = 200) -> ApiResponse:
        """Return a response in JSON."""
        return cls(status=status, body=to_json(document))

    @classmethod
    def of_text(cls, text: str, status: int = 200) -> ApiResponse:
        """Return a response in plain text."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings that kube-apiserver takes as flags.

    `audiences`: the API server's own. `max_expiration_seconds`: the longest lifetime of a token.
    `certificate_authority`: PEM, for token Secrets and kube-root-ca.crt. `address`: host and port.
    """

    issuer: str
    audiences: tuple[str, ...]
    max_expiration_seconds: int
    certificate_authority: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """What every handler works on."""

    settings: ServerSettings
    store: Store
    keys: KeyRing
    clock: Clock
    issuer: Issuer
    authenticator: TokenAuthenticator

    def now(self) -> str:
        """Return the time as Kubernetes writes it."""
        return rfc3339(self.clock.unix())

    def with_identity(self, obj: Object) -> Object:
        """Return a new object with a UID and its creation time."""
        identity = {"uid": str(uuid.uuid4()), "creationTimestamp": self.now()}
        return {**obj, "metadata": {**obj["metadata"], **identity}}


def rfc3339(unix_seconds: float) -> str:
    """Return a time as Kubernetes writes it."""
    return f"{utc(unix_seconds):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(slots=True, kw_only=True)
class ApiCall:
    """An authorized request for a kind, or for one object of it."""

    context: ServerContext
    request: ApiRequest
    query: Query
    user: User
    kind: Kind
    namespace: str = ""
    name: str = ""
    warnings: list[str] = field(default_factory=list)

    def live(self) -> Object:
        """Return the object that the request names. Raises the 404."""
        found = self.context.store.get(self.kind, self.namespace, self.name)
        if found is None:
            raise errors.not_found(self.kind.group, self.kind.plural, self.name)
        return found

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return bool(self.query.values.get("dryRun"))

    def check_options(self, options: str) -> None:
        """Raise the 422 for invalid parameters; `options` is the kind that they belong to."""
        causes: list[Cause] = []
        for value in self.query.values.get("dryRun", []):
            if value != "All":
                causes.append(unsupported("dryRun", value, ("All",)))
        if len(self.query.text("fieldManager")) > MANAGER_LIMIT_CHARACTERS:
            why = f"Too long: may not be more than {MANAGER_LIMIT_CHARACTERS} bytes"
            causes.append(Cause(field="fieldManager", message=why, reason="FieldValueTooLong"))
        if (validation := self._validation) not in ("Ignore", "Strict", "Warn"):
            known = ("", "Ignore", "Strict", "Warn")
            causes.append(unsupported("fieldValidation", validation, known))
        if causes:
            raise errors.invalid("meta.k8s.io", options, "", causes)

    @property
    def _validation(self) -> str:
        return self.query.text("fieldValidation") or "Warn"

    def decode(self, kind: Kind | None = None) -> Object:
        """Return the body as an object of the kind, and keep warnings. Raises the 4xx."""
        kind = kind or self.kind
        media = media_type(self.request.header("content-type"))
        try:
            value = parse(self.request.body, media)
        except ShapeError as error:
            raise errors.bad_request(
                f"the object provided is unrecognized (must be of type {kind.kind}): {error}"
            ) from None
        return self.convert(value, kind)

    def convert(self, value: Any, kind: Kind) -> Object:
        """Return a parsed body as an object of a kind in this call's namespace. Raises the 400."""
        reader = ObjectReader()
        try:
            head = dict(value) if isinstance(value, dict | list) and value != [] else {}
            version = head.get("apiVersion") or kind.api_version
            name = head.get("kind") or kind.kind
        except (TypeError, ValueError):
            raise errors.bad_request(f"the body is not an object of type {kind.kind}") from None
        what = f"{name} in version {quote(str(version))} cannot be handled as a {kind.kind}: "
        if (version, name) != (kind.api_version, kind.kind):
            raise errors.bad_request(what + "the path is for another kind")
        try:
            read = reader.read({} if value is None else value, kind.shape)
        except ShapeError as error:
            raise errors.bad_request(what + str(error)) from None
        if reader.warnings and self._validation == "Strict":
            listed = ", ".join(reader.warnings)
            raise errors.bad_request(f"{what}strict decoding error: {listed}")
        if self._validation == "Warn":
            self.warnings += reader.warnings
        start = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {}}
        return self._in_namespace({**start, **read})

    def _in_namespace(self, obj: Object) -> Object:
        metadata: dict[str, Any] = dict(obj["metadata"])
        if metadata.get("namespace", self.namespace) not in ("", self.namespace):
            if self.namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request"
                )
            del metadata["namespace"]
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {**obj, "metadata": metadata}
