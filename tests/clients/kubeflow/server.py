"""As much of the model registry's REST API (v1) as its client needs, and a folder of files.

Paths and fields are those of `mr_openapi`, which is generated from the registry's own description.
"""

from __future__ import annotations

import json
import sys
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.http_services import Handler

API = "/api/model_registry/v1/"
TABLE = b"name,size\na,1\nb,2\n"
KEPT: dict[str, list[dict[str, Any]]] = {}


class Answering(Handler):
    def do_GET(self) -> None:
        """Find by name, or list; or send the table, or a part of it; or lead elsewhere."""
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        if address.path.startswith(API):
            self._find(address.path.removeprefix(API), query)
        elif address.path == "/away":
            self.answer(302, location=query["to"][0])
        else:
            self._send_table()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Keep what was sent."""
        document = json.loads(self.content())
        kept = KEPT.setdefault(self.path.removeprefix(API).split("/")[-1], [])
        document["id"] = str(len(kept) + 1)
        kept.append(document)
        self.answer(201, json.dumps(document), content_type="application/json")

    do_PATCH = do_POST

    def _find(self, path: str, query: dict[str, list[str]]) -> None:
        collection = path.split("/")[-1]
        found: dict[str, Any] | None = {
            "items": KEPT.get(collection, []), "size": len(KEPT.get(collection, [])),
            "pageSize": 100, "nextPageToken": "",
        }  # fmt: skip
        if "name" in query:
            kept = KEPT.get(f"{collection}s", [])
            found = next((each for each in kept if each["name"] == query["name"][0]), None)
        code = 200 if found else 404
        self.answer(code, json.dumps(found or {}), content_type="application/json")

    def _send_table(self) -> None:
        unit, _, wanted = self.headers.get("range", "").partition("=")
        first, _, last = wanted.partition("-")
        content = TABLE[int(first) : int(last or len(TABLE)) + 1] if unit else TABLE
        self.send_response(206 if unit else 200)
        self.send_header("accept-ranges", "bytes")
        if unit:
            end = int(first) + len(content) - 1
            self.send_header("content-range", f"bytes {first}-{end}/{len(TABLE)}")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answering).serve_forever()
