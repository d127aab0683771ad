"""An S3 on another host than the gate, and a server that only notes what it receives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass
class Elsewhere:
    """A server of another origin. `received`: method, path, and the Authorization header or ""."""

    url: str = ""
    received: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def serving(application: Application) -> Iterator[Elsewhere]:
    """Serve an application on a port of 127.0.0.1."""
    elsewhere = Elsewhere()

    def noted(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        about = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
        elsewhere.received.append((*about, environ.get("HTTP_AUTHORIZATION", "")))
        return application(environ, start)

    server = make_server("127.0.0.1", 0, noted, threaded=True)
    elsewhere.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield elsewhere
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3() -> Application:
    application: Application = DomainDispatcherApplication(create_backend_app)
    return application


def nothing(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """Answer 200 to everything."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start("200 OK", [("Content-Length", "2")])
    return [b"{}"]
