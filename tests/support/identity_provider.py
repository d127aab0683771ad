"""An OpenID provider on loopback, as Kubeflow has Dex, with one user who is signed in already."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from support.issuer import Issuer

USER = "alice@example.com"
CLIENT, CLIENT_SECRET = "kubeflow", "of the login alone"
PREFIX = "/dex"


class IdentityProvider(Issuer):
    """Below PREFIX: `auth`, where a browser comes, and `token`, where the login redeems a code."""

    def __init__(self, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}{PREFIX}")
        self.port = port
        self._asked: dict[str, Mapping[str, str]] = {}

    def id_token(self) -> str:
        """What says who USER is, to the login."""
        token = self.token("alice", CLIENT, email=USER, email_verified=True, groups=["team-a"])
        return token.reveal()

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where the browser is sent, with a code (RFC 6749, 4.1.2)."""
        assert (query["client_id"], query["response_type"]) == (CLIENT, "code")
        code = secrets.token_urlsafe()
        self._asked[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def redeem(self, form: Mapping[str, str], authorization: str) -> dict[str, object] | None:
        """What a code is worth, once, to who has asked for it; else None."""
        asked = self._asked.pop(form["code"], None)
        client = base64.b64encode(urlencode({CLIENT: CLIENT_SECRET}).replace("=", ":").encode())
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if (
            asked is None
            or authorization != f"Basic {client.decode()}"
            or asked["code_challenge"] != challenge
        ):
            return None
        token = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer"}
        return {**token, "expires_in": 600, "id_token": self.id_token()}


@contextmanager
def running_identity_provider() -> Iterator[IdentityProvider]:
    """One on a free port, without TLS, as it is within a cluster."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            path = address.path.removeprefix(PREFIX)
            if path == "/auth":
                self._answer(303, "", Location=provider.authorize(dict(parse_qsl(address.query))))
            else:
                body = provider.documents().get(path, "")
                self._answer(200 if body else 404, body)

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            redeemed = provider.redeem(form, self.headers.get("Authorization", ""))
            self._answer(400 if redeemed is None else 200, json.dumps(redeemed))

        def _answer(self, code: int, body: str, **headers: str) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider = IdentityProvider(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
