"""What an API server answers, read within bounds: whole bodies, objects, and events of a watch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2

from daypass._core.clock import Clock
from daypass._core.secret import Secret, redact_response
from daypass._core.status import excerpt
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import BrokenResponseError, explain

Object = dict[str, Any]

LIMIT_BYTES = 64 * 1024 * 1024
"""Of one answer, decoded: the metadata of 50,000 token Secrets."""
LIMIT_PAGE_BYTES = 16 * 1024 * 1024
"""Of one page of a long list, decoded. One object is always smaller: etcd takes 1.5 MiB, and JSON
writes some characters as six."""
PAGE = 500
"""Objects in one page, if they are not large."""
LIMIT_VALUES = LIMIT_BYTES // 12
"""Of one answer. In memory, a value takes up to 100 bytes; in Kubernetes's JSON, 14 or more."""
LIMIT_LINE_BYTES = 16 * 1024 * 1024
"""Of one event of a watch: by default, etcd takes objects of 1.5 MiB."""
LIMIT_SECONDS = 300.0
"""For the body of one answer, however slowly it arrives."""

METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""The media type of objects without anything but metadata; for lists, with `List` in the braces."""


class Body:
    """Collects the body of one answer. `add` raises BrokenResponseError beyond the bounds."""

    def __init__(self, host: str, clock: Clock, limit_bytes: int | None = None) -> None:
        self._host = host
        self._clock = clock
        self._limit_bytes = LIMIT_BYTES if limit_bytes is None else limit_bytes
        self._ends = clock.monotonic() + LIMIT_SECONDS
        self._content = bytearray()

    def add(self, chunk: bytes) -> None:
        """Append what has arrived."""
        self._content += chunk
        if len(self._content) > self._limit_bytes:
            raise too_large(f"of more than {self._limit_bytes >> 20} MiB", self._host)
        if self._clock.monotonic() > self._ends:
            raise too_large(f"for more than {LIMIT_SECONDS:.0f} s", self._host)

    def content(self) -> bytes:
        """Return all of it."""
        return bytes(self._content)


class Pages:
    """The pages of a list: `params` asks for the next one.

    Who may write large objects, anywhere, must not be able to end the list: where a page would be
    too large, the next are smaller, down to single objects.
    """

    def __init__(self) -> None:
        self._limit = PAGE
        self._start: dict[str, str] = {}

    @property
    def params(self) -> dict[str, str]:
        """The parameters of the next page."""
        return {"limit": str(self._limit), **self._start}

    def shrink(self, error: BrokenResponseError) -> None:
        """Ask for fewer objects after an error, or raise it if that does not help."""
        if self._limit == 1 or not error.is_too_large:
            raise error
        self._limit = max(1, self._limit // 8)

    def has_next(self, answer: Object, *, is_small: bool) -> bool:
        """Take a page; return whether there is another. After a small one, it may be larger."""
        if is_small:
            self._limit = min(PAGE, 2 * self._limit)
        self._start = {"continue": str(answer["metadata"].get("continue") or "")}
        return bool(self._start["continue"])


class Events:
    """Splits the body of a watch into events."""

    def __init__(self, connection: ConnectionConfig, request: httpx2.Request, what: str) -> None:
        self._connection = connection
        self._request = request
        self._what = what
        self._begun: list[bytes] = []
        self._length = 0

    def add(self, chunk: bytes) -> Iterator[tuple[str, Object]]:
        """Yield the events that are whole now: ADDED, MODIFIED, DELETED or BOOKMARK and an object.

        Raises the ApiError of an ERROR, and BrokenResponseError for anything else.
        """
        # At line feeds alone: `str.splitlines` also splits at characters that annotations may
        # contain (U+0085).
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield self._event(b"".join((*self._begun, line)))
            self._begun.clear()
            self._length = 0
        self._begun.append(rest)
        self._length += len(rest)
        if self._length > LIMIT_LINE_BYTES:
            raise BrokenResponseError(
                f"{self._connection.server} sent an event of more than 16 MiB"
            )

    def end(self) -> Iterator[tuple[str, Object]]:
        """Yield the last event, if it is whole, at the end of the body. Raises as `add`."""
        if any(self._begun):
            yield self._event(b"".join(self._begun))

    def _event(self, line: bytes) -> tuple[str, Object]:
        event = parse_object(line, self._request, self._connection)
        kind, document = event.get("type"), event.get("object")
        if not isinstance(kind, str) or not isinstance(document, dict):
            fact = f"{self._connection.server} sent something other than watch events"
            raise BrokenResponseError(fact)
        if kind == "ERROR":  # a Status
            code = document.get("code")
            body = json.dumps(document).encode()
            secrets = sent_secrets(self._request, self._connection)
            raise explain(code if isinstance(code, int) else 0, body, self._what, *secrets)
        return kind, document


def parse_object(body: bytes, request: httpx2.Request, connection: ConnectionConfig) -> Object:
    """Return the JSON object of an answer. Raises BrokenResponseError."""
    if sum(map(body.count, (b"[", b"{", b","))) > LIMIT_VALUES:
        raise too_large(f"of more than {LIMIT_VALUES} values", request.url.host)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        shown = excerpt(redact_response(body, *sent_secrets(request, connection)))
        raise BrokenResponseError(
            f"{connection.server} does not respond like an API server: {shown}",
            "check the URL; a proxy or a login page may have responded instead",
        )
    return document


def sent_secrets(request: httpx2.Request, connection: ConnectionConfig) -> tuple[Secret, ...]:
    """Return the credentials of a request, which an answer may quote."""
    _, _, sent = request.headers.get("Authorization", "").partition(" ")
    return (Secret(sent), connection.basic[1]) if connection.basic else (Secret(sent),)


def too_large(what: str, host: str) -> BrokenResponseError:
    """Return the error for an answer that is `what`."""
    error = BrokenResponseError(f"{host} sent a response {what}", "check that it is an API server")
    error.is_too_large = True
    return error


def selection(labels: str | None, fields: str | None) -> dict[str, str]:
    """Return the parameters of selectors."""
    selectors = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in selectors.items() if value}
