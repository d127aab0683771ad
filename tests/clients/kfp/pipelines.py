"""A service that speaks as much of the API of Kubeflow Pipelines (v2beta1) as a client needs.

Paths, methods and fields are those of `kfp_server_api`, which is generated from the service's own
description. It keeps what it is given, in memory.
"""

from __future__ import annotations

import email.parser
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.http_services import Handler, serving

API = "/apis/v2beta1"
PREFIX = "/pipeline"
"""Kubeflow serves the API below it too."""
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: what for, and by whom as the gate says. Header names are in lower case."""

    method: str
    path: str
    user: str | None
    headers: dict[str, str]


class FakePipelines:
    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[Call] = []
        self.experiments: list[Document] = []
        self.pipelines: list[Document] = []
        self.runs: list[Document] = []
        self.uploads: list[bytes] = []

    def get(self, path: str, query: dict[str, list[str]]) -> Document | None:
        if path == f"{API}/healthz":
            return {"multi_user": True}
        collection, _, name = path.removeprefix(f"{API}/").partition("/")
        kept: list[Document] = getattr(self, collection)
        if name:
            key = f"{collection.removesuffix('s')}_id"
            return next((item for item in kept if item[key] == name), None)
        namespace = query.get("namespace", [""])[0]
        found = [item for item in kept if item.get("namespace", namespace) == namespace]
        return {collection: found, "total_size": len(found)}

    def create(self, path: str, document: Document) -> Document:
        collection = path.removeprefix(f"{API}/")
        kept: list[Document] = getattr(self, collection)
        key = f"{collection.removesuffix('s')}_id"
        kept.append({**document, key: f"{collection}-{len(kept)}"})
        return kept[-1]

    def upload(self, query: dict[str, list[str]], content: bytes) -> Document:
        self.uploads.append(content)
        return self.create(f"{API}/pipelines", {"display_name": query["name"][0]})


@contextmanager
def running_pipelines() -> Iterator[FakePipelines]:
    class Answering(Handler):
        def _answer(self) -> None:
            body, address, headers = self.content(), urlsplit(self.path), self.fields()
            path = address.path.removeprefix(PREFIX)
            query = parse_qs(address.query)
            user = headers.get("kubeflow-userid")
            service.calls.append(Call(method=self.command, path=path, user=user, headers=headers))
            answer: Document | None
            if self.command == "GET":
                answer = service.get(path, query)
            elif path == f"{API}/pipelines/upload":
                answer = service.upload(query, _uploaded(headers["content-type"], body))
            else:
                answer = service.create(path, json.loads(body))
            content = json.dumps(answer or {"code": 5, "message": "not found"})
            code = 404 if answer is None else 200
            self.answer(code, content, content_type="application/json")

        do_GET = do_POST = _answer

    with serving(Answering) as port:
        service = FakePipelines(f"http://127.0.0.1:{port}")
        yield service


def _uploaded(content_type: str, body: bytes) -> bytes:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.parser.BytesParser().parsebytes(head + body)
    (content,) = (part.get_payload(decode=True) for part in form.walk() if part.get_filename())
    assert isinstance(content, bytes)
    return content
