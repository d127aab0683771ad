"""A JSON client for an API server, for what a test needs around the thing it tests."""

from __future__ import annotations

import http.client
import json
import select
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Document = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. Header names are in lower case; a header may come several times."""

    code: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Document:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    @property
    def message(self) -> str:
        return str(self.json["message"])

    def all(self, name: str) -> list[str]:
        """The values of a header, in order."""
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def warnings(self) -> list[str]:
        return self.all("warning")


class AdminError(Exception):
    def __init__(self, method: str, path: str, answer: Answer) -> None:
        super().__init__(f"{method} {path}: {answer.code} {answer.body.decode(errors='replace')}")
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Talks JSON to one API server, from any thread.

    Paths are those of the API: `/api/v1/namespaces/x`. What is no success raises AdminError,
    except from `request`. `idle`: a list for connections that later requests use, until `close`;
    without one, each request has a connection of its own.
    """

    url: str
    context: ssl.SSLContext | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    idle: list[http.client.HTTPConnection] | None = field(default=None, repr=False)

    def request(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and give back whatever comes; `body` is JSON, or bytes."""
        connection = self._idle_connection() or self._new_connection()
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        stays = False
        try:
            connection.request(method, path, content, {**kind, **self.headers, **(headers or {})})
            with connection.getresponse() as response:
                names = tuple((name.lower(), value) for name, value in response.getheaders())
                answer = Answer(code=response.status, headers=names, body=response.read())
                stays = self.idle is not None and not response.will_close
            return answer
        finally:
            if self.idle is not None and stays:
                self.idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().close()

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        """One that the server has not closed, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            heard = select.poll()
            heard.register(connection.sock, select.POLLIN)
            if not heard.poll(0):
                return connection
            connection.close()
        return None

    def _new_connection(self) -> http.client.HTTPConnection:
        address = urlsplit(self.url)
        host, port = address.hostname or "", address.port
        if self.context is None:
            return http.client.HTTPConnection(host, port, timeout=30)
        return http.client.HTTPSConnection(host, port, timeout=30, context=self.context)

    def get(self, path: str) -> Document:
        return self._expect("GET", path)

    def find(self, path: str) -> Document | None:
        """An object, or None where there is none of that name."""
        answer = self.request("GET", path)
        if answer.code == 404:
            return None
        return self._checked("GET", path, answer)

    def create(self, collection: str, document: Document) -> Document:
        """POST an object to its collection (`/api/v1/namespaces/x/secrets`)."""
        return self._expect("POST", collection, document)

    def apply(self, path: str, document: Document) -> Document:
        """Server-side apply, forced, to the object's own path."""
        return self._expect(
            "PATCH",
            f"{path}?fieldManager=daypass-tests&force=true",
            document,
            headers={"Content-Type": APPLY_PATCH},
        )

    def patch(self, path: str, document: Document) -> Document:
        return self._expect("PATCH", path, document, headers={"Content-Type": MERGE_PATCH})

    def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object; its absence is a success too."""
        body = None if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        answer = self.request("DELETE", path, body)
        if answer.code != 404:
            self._checked("DELETE", path, answer)

    def _expect(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Document:
        return self._checked(method, path, self.request(method, path, body, headers=headers))

    @staticmethod
    def _checked(method: str, path: str, answer: Answer) -> Document:
        if answer.code >= 300:
            raise AdminError(method, path, answer)
        return answer.json
