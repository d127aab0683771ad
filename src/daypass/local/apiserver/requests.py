"""A request and an answer, and what a request is about before anything is looked up.

Two readings of a path live side by side, as in the API server: `about` is what the authorizer
judges (apiserver/pkg/endpoints/request/requestinfo.go), `tokens` is what the router matches. Both
see the path once decoded; `..` and `//` are names like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from daypass.local.apiserver import errors
from daypass.local.apiserver.rbac import Attributes
from daypass.local.apiserver.users import User

_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_SPECIAL = ("proxy", "watch")
WARNINGS_LIMIT_CHARACTERS, WARNING_CUT_TO = 4096, 256
"""As in apiserver/pkg/endpoints/filters/warning.go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A whole request. Header names in lower case; `target` as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header's first value, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def well_formed(self) -> bool:
        """Whether Go reads the target at all: every percent sign begins an escape."""
        path = self.target.partition("?")[0]
        return path.startswith("/") and not re.search("%(?![0-9A-Fa-f]{2})", path)

    @property
    def wants_metadata_list(self) -> bool:
        """Whether a list is to have nothing but its objects' metadata."""
        return self._wants("PartialObjectMetadataList")

    @property
    def wants_metadata(self) -> bool:
        """Whether the events of a watch are to have nothing but their objects' metadata."""
        return self._wants("PartialObjectMetadata")

    def _wants(self, kind: str) -> bool:
        first = self.header("accept").partition(",")[0].replace(" ", "")
        return sorted(first.split(";")) == [
            "application/json",
            f"as={kind}",
            "g=meta.k8s.io",
            "v=v1",
        ]

    @property
    def path(self) -> str:
        """The path, decoded once; bytes that are no UTF-8 as surrogates."""
        raw = unquote_to_bytes(self.target.partition("?")[0])
        return raw.decode("utf-8", "surrogateescape")

    @property
    def tokens(self) -> list[str]:
        """The path's parts, slashes at either end left out."""
        stripped = self.path.strip("/")
        return stripped.split("/") if stripped else []

    def about(self, user: User) -> Attributes:
        """What the authorizer is asked."""
        parts = self.tokens
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
            verb, name = self._of_many(verb)
        return Attributes(
            user=user, verb=verb, group=group, resource=parts[0], subresource=subresource,
            namespace=namespace, name=name,
        )  # fmt: skip

    def _of_many(self, verb: str) -> tuple[str, str]:
        if verb == "delete":
            return "deletecollection", ""
        if verb != "get":
            return verb, ""
        query = Query.of(self)
        exact = re.fullmatch("metadata.name==?([^,=!]+)", query.text("fieldSelector"))
        return "watch" if query.flag("watch") else "list", exact[1] if exact else ""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a request; of a repeated one the first counts."""

    values: dict[str, list[str]]

    @classmethod
    def of(cls, request: ApiRequest) -> Query:
        """The query of a request. What cannot be read is left out, as Go leaves it out."""
        try:
            text = request.target.partition("?")[2]
            return cls(parse_qs(text, keep_blank_values=True, max_num_fields=100))
        except ValueError:
            return cls({})

    def text(self, name: str) -> str:
        """A parameter, or an empty string."""
        return self.values.get(name, [""])[0]

    def flag(self, name: str) -> bool:
        """A parameter as apimachinery reads a bool: anything but `false` and `0` is true."""
        return name in self.values and self.text(name).lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """A whole number, or None where there is none. Raises the 400."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch("[-+]?[0-9]{1,18}", text):
            raise errors.bad_request(f'strconv.ParseInt: parsing "{text[:64]}": invalid syntax')
        return int(text)

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be kept."""
        return bool(self.values.get("dryRun"))


@dataclass(slots=True, kw_only=True)
class ApiResponse:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, document: Any, status: int = 200, warnings: Iterable[str] = ()) -> ApiResponse:
        """An answer in JSON."""
        return cls(status=status, body=dump(document), headers=warning_headers(warnings))

    @classmethod
    def of_text(cls, text: str, status: int = 200) -> ApiResponse:
        """An answer in plain text."""
        return cls(
            status=status,
            body=text.encode(),
            content_type="text/plain; charset=utf-8",
            headers=[("X-Content-Type-Options", "nosniff")],
        )


def dump(document: Any) -> bytes:
    """A document as bytes of JSON, its end a line's end as in Go."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text).encode()


def warning_headers(warnings: Iterable[str]) -> list[tuple[str, str]]:
    """Warning headers (RFC 9111), each of them once; cut where they are too long together."""
    texts = [
        "".join(c for c in text if c.isprintable()) for text in dict.fromkeys(warnings)
    ]  # fmt: skip
    if sum(map(len, texts)) > WARNINGS_LIMIT_CHARACTERS:
        texts = [text[:WARNING_CUT_TO] for text in texts]
        texts = texts[: WARNINGS_LIMIT_CHARACTERS // WARNING_CUT_TO]
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return [("Warning", f'299 - "{text}"') for text in escaped]
