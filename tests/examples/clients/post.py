"""POST a body NUMBER times with a library; one line each: the answer's code, or the error."""

from __future__ import annotations

import io
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

STATUS = '"kind":"Status"'
_resolve = socket.getaddrinfo


def _here(host: Any, *rest: Any, **more: Any) -> Any:
    return _resolve("127.0.0.1", *rest, **more)


def main(
    url: str, authority: str, token: str, size: str, times: str, library: str, length: str
) -> None:
    socket.getaddrinfo = _here
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = bytes(int(size))
    body: Any
    trust = ssl.create_default_context(cafile=authority)  # noqa: TID251 - as others do
    post = {"urllib": _urllib, "requests": _requests, "httpx": _httpx, "httpx-http2": _httpx_http2}
    send = post[library](url, authority, trust, headers)
    for _ in range(int(times)):
        body = _parts(data) if length == "unknown" else data
        if body is data and "httpx" in library:
            body = io.BytesIO(data)  # a whole one is sent over HTTP/2 in quadratic time
        try:
            code, reason, text = send(body)
            line = f"{code} {reason} {int(STATUS in text)}"
        except Exception as error:
            line = f"{type(error).__name__}: {error}".split("\n")[0]
        sys.stdout.write(line + "\n")


def _parts(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def _urllib(url: str, authority: str, trust: ssl.SSLContext, headers: dict[str, str]) -> Any:
    def send(body: Any) -> tuple[int, str, str]:
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310
        try:
            answer: Any = urllib.request.urlopen(request, context=trust, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status, answer.headers["daypass-reason"], answer.read().decode()

    return send


def _requests(url: str, authority: str, trust: ssl.SSLContext, headers: dict[str, str]) -> Any:
    import requests

    session = requests.Session()

    def send(body: Any) -> tuple[int, str, str]:
        answer = session.post(url, data=body, headers=headers, verify=authority, timeout=60)
        return answer.status_code, answer.headers["daypass-reason"], answer.text

    return send


def _httpx(
    url: str, authority: str, trust: ssl.SSLContext, headers: dict[str, str], http2: bool = False
) -> Any:
    import httpx

    client = httpx.Client(verify=trust, http2=http2, timeout=60)

    def send(body: Any) -> tuple[int, str, str]:
        answer = client.post(url, content=body, headers=headers)
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        return answer.status_code, answer.headers["daypass-reason"], answer.text

    return send


def _httpx_http2(url: str, authority: str, trust: ssl.SSLContext, headers: dict[str, str]) -> Any:
    return _httpx(url, authority, trust, headers, http2=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
