"""What an API server answers, within bounds: objects, pages of lists, and events of watches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2

from daypass._core.clock import Clock, parse_http_date
from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.status import excerpt
from daypass._core.secret import redact_response
from daypass.kube.connection import ConnectionConfig, sent_secrets
from daypass.kube.errors import BrokenResponseError, TooLargeError, explain
from daypass.kube.resources import Resource

LIMIT_BYTES = 16 * 1024 * 1024
"""Of one answer, or one event, decoded. One object is always smaller: etcd takes 1.5 MiB, and JSON
writes some characters as six."""
PAGE = 500
"""Objects in one page, if they are not large."""
LIMIT_VALUES = LIMIT_BYTES // 12
"""Of one answer. In memory, a value takes up to 100 bytes; in Kubernetes's JSON, 14 or more."""
LIMIT_SECONDS = 300.0
"""For the body of one answer, however slowly it arrives, and for all pages of a list: an API server
forgets its revision after five to ten minutes."""

METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""The media type of objects without anything but metadata; for lists, with `List` in the braces."""


def clock_ahead_seconds(
    response: httpx2.Response, began_unix: float, now_unix: float
) -> float | None:
    """Return how far this clock is ahead of the API server's, at least, by the date of a response:
    a whole second, between the request and now. None without a date.
    """
    date = parse_http_date(response.headers.get("Date", ""))
    if date is None:
        return None
    return max(0.0, began_unix - date - 1) or min(0.0, now_unix - date)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The objects of one kind that are listed or watched.

    `namespace`: None for all namespaces. `labels`, `fields`: selectors. `metadata_only`: no
    Secret's data leaves the API server.
    """

    resource: Resource
    namespace: str | None = None
    labels: str | None = None
    fields: str | None = None
    metadata_only: bool = False

    def __str__(self) -> str:
        return self.resource.named(self.namespace)

    @property
    def path(self) -> str:
        """The URL path of the collection."""
        return self.resource.path(self.namespace)

    @property
    def params(self) -> dict[str, str]:
        """The query parameters of the selectors."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in selectors.items() if value}

    def accept(self, *, is_list: bool) -> Mapping[str, str]:
        """Return the header that asks for metadata alone, if that is enough."""
        suffix = "List" if is_list else ""
        return {"Accept": METADATA.format(suffix)} if self.metadata_only else {}


class Answer:
    """One answer, as it arrives. Every method raises the errors of `daypass.kube.errors`.

    `what` names the attempt in errors, which quote no credentials that were sent.
    """

    def __init__(
        self,
        response: httpx2.Response,
        what: str,
        connection: ConnectionConfig,
        clock: Clock,
    ) -> None:
        self.response = response
        self._what = what
        self._connection = connection
        self._clock = clock
        self._ends = clock.monotonic() + LIMIT_SECONDS
        self._received = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._receive(chunk)
        if self._clock.monotonic() > self._ends:
            raise self._too_large(f"for more than {LIMIT_SECONDS:.0f} s")

    @property
    def size(self) -> int:
        """How many bytes the body has so far."""
        return len(self._received)

    def document(self) -> Object:
        """Return the object that is the body. Raises ApiError if the answer is an error."""
        if self.response.status_code >= 300:
            raise self._error(self.response.status_code, bytes(self._received))
        return self._parse(self._received)

    def events(self, chunk: bytes) -> Iterator[tuple[str, Object]]:
        """Take a piece of the body of a watch, and yield the events that are whole now.

        ADDED, MODIFIED, DELETED or BOOKMARK and an object. Raises the ApiError of an ERROR.
        """
        self._receive(chunk)
        if b"\n" not in chunk:
            return
        # At line feeds alone: `str.splitlines` also splits at characters that annotations may
        # contain (U+0085).
        *lines, self._received = self._received.split(b"\n")
        for line in filter(None, lines):
            event = self._parse(line)
            kind, document = event.get("type"), event.get("object")
            if not isinstance(kind, str) or not isinstance(document, dict):
                fact = f"{self._connection.server} sent something other than watch events"
                raise BrokenResponseError(fact)
            if kind == "ERROR":  # a Status
                code = document.get("code")
                raise self._error(
                    code if isinstance(code, int) else 0, json.dumps(document).encode()
                )
            yield kind, document

    def _receive(self, chunk: bytes) -> None:
        self._received += chunk
        if len(self._received) > LIMIT_BYTES:
            raise self._too_large(f"of more than {LIMIT_BYTES >> 20} MiB")

    def _parse(self, body: bytearray) -> Object:
        if sum(map(body.count, (b"[", b"{", b","))) > LIMIT_VALUES:
            raise self._too_large(f"of more than {LIMIT_VALUES} values")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            secrets = sent_secrets(self.response.request)
            raise BrokenResponseError(
                f"{self._connection.server} does not respond like an API server: "
                f"{excerpt(redact_response(bytes(body), *secrets))}",
                "check the URL; a proxy or a login page may have responded instead",
            )
        return document

    def _error(self, code: int, body: bytes) -> Exception:
        secrets = sent_secrets(self.response.request)
        return explain(code, body, self._what, *secrets)

    def _too_large(self, what: str) -> TooLargeError:
        host = self.response.request.url.host
        return TooLargeError(f"{host} sent a response {what}", "check that it is an API server")


class Pages:
    """The pages of a list: `params` asks for the next one, until it `is_complete`.

    Who may write large objects, anywhere, must not be able to end the list: where a page would be
    too large, the next are smaller, down to single objects. `metadata`: of the last page.
    """

    def __init__(self, selection: Selection, clock: Clock) -> None:
        self.params = {**selection.params, "limit": str(PAGE)}
        self.metadata: Object = {}
        self.is_complete = False
        self._selection, self._limit = selection, PAGE
        self._clock, self._ends = clock, clock.monotonic() + LIMIT_SECONDS

    def shrink(self, error: TooLargeError) -> None:
        """Ask for fewer objects after an error, or raise it if that does not help."""
        if self._limit == 1:
            raise error
        self._ask_for(max(1, self._limit // 8))

    def take(self, answer: Answer) -> list[Object]:
        """Return the objects of a page. After a small one, the next may be larger.

        Raises BrokenResponseError for a list that does not end.
        """
        document = answer.document()
        metadata = document.get("metadata")
        self.metadata = metadata if isinstance(metadata, dict) else {}
        before, after = self.params.get("continue"), str(self.metadata.get("continue") or "")
        self.params["continue"] = after
        self.is_complete = not after
        if after and (after == before or self._clock.monotonic() > self._ends):
            fact = f"cannot list {self._selection}: the pages of the list do not end"
            raise BrokenResponseError(fact, "check that it is an API server")
        if answer.size < LIMIT_BYTES // 4:
            self._ask_for(min(PAGE, 2 * self._limit))
        return document.get("items") or []

    def _ask_for(self, limit: int) -> None:
        self._limit = limit
        self.params["limit"] = str(limit)
