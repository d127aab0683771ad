"""Hostile requests without end.

Every request begins as an exact TokenRequest and is bent in one to three places. Which places and
how follows from a seed, so that a run can be had again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from support.doors import EKF, SERVING

START = "/kubernetes/api/v1/namespaces"
SMUGGLED = (
    b"POST /api/v1/secrets HTTP/1.1\r\nHost: kubernetes.default.svc\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One hostile request.

    `whole`: by construction it is one request with a length, so that there is one answer to it.
    Where not, nobody knows what comes of it, and its connection is not used again.
    """

    number: int
    raw: bytes
    body: bytes
    whole: bool


@dataclass(slots=True)
class Draft:
    """A request while it is bent. `head`: its method, its target, and its lines."""

    head: dict[str, str]
    body: bytes = b""
    framed: bool = True

    def whole(self) -> bool:
        return self.framed and not any(c < " " and c != "\t" for c in "".join(self.head.values()))

    def raw(self) -> bytes:
        method, target, *lines = self.head.values()
        head = [f"{method} {target} HTTP/1.1", *filter(None, lines), "", ""]
        return "\r\n".join(head).encode("latin-1") + self.body


def hostile_requests(seed: int) -> Iterator[Attempt]:
    chance = random.Random(seed)  # noqa: S311 - chosen to be had again, not to be secret
    for number in count(1):
        draft = Draft({
            "method": "POST" if chance.random() < 0.9 else "GET",
            "target": f"{START}/team-{number % 7}/serviceaccounts/bot-{number % 11}/token",
            "host": f"Host: {EKF if number % 2 else SERVING}",
            "id": f"X-Request-Id: h{number}",
            "authorization": f"Authorization: Bearer {token_of(number)}",
            "type": "Content-Type: application/json",
            "length": "",
        })  # fmt: skip
        _with_body(draft, b'{"n":%d}' % number if draft.head["method"] == "POST" else b"")
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            chance.choices(BENDS, WEIGHTS)[0](chance, draft)
        raw, whole = draft.raw(), draft.whole()
        if chance.random() < 0.05:
            raw, whole = torn(chance, raw), False
        yield Attempt(number=number, raw=raw, body=draft.body, whole=whole)


def token_of(number: int) -> str:
    """The token of an attempt. The number twice: bent in one place, it is no other attempt's."""
    return f"e30.t{number}-{number}.sig"


_INSTEAD = {
    "method": (
        "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "CONNECT", "post", "BREW",
    ),
    "target": (
        "/", "*", "/api", "/api/v1/secrets", "/healthz", "/kubernetes", "/metrics", "/config_dump",
        f"{START}/team/secrets", f"{START}/team/serviceaccounts", f"{START}/team/pods/x/exec",
        f"https://{EKF}{START}/team/serviceaccounts/bot/token", f"{EKF}:443",
        *(f"{START}/{name}/serviceaccounts/{name}/token" for name in ("a.b", "-a", "..", "")),
    ),
    "host": tuple(f"Host: {host}" for host in (
        "evil.example.com", "kubernetes.default.svc", f"{EKF}.", f"{EKF}:443", f"{EKF}:x", "",
        f"x.{EKF}", f"{EKF},evil", f"user@{EKF}", EKF.upper(), "127.0.0.1", "[::1]",
    )),
    "type": tuple(f"Content-Type: {each}" for each in (
        "application/yaml", "application/vnd.kubernetes.protobuf", "", "text/plain", "*/*",
        "application/json; charset=utf-8", "application/json;stream=watch", "application/json,x/y",
        "APPLICATION/JSON", "application/json-patch+json", "application/json;",
    )),
    "length": (
        "Content-Length: +9", "Content-Length: 9,9", "Content-Length: 09", "Content-Length: x",
        "Content-Length: 9\r\nContent-Length: 0", "Content-Length: 9999999", "Content-Length : 9",
        "Content_Length: 9", "Content-Length: -9", "Content-Length:\r\n 9", "Content-Length: 1",
        "Content-Length: 9\r\nTransfer-Encoding: chunked", "", "Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked;q=1",
    ),
}  # fmt: skip
_MORE = (
    "Impersonate-User: admin", "Impersonate-Group: system:masters", "Impersonate-Extra-Scopes: x",
    "X-Remote-User: admin", "X-Forwarded-Client-Cert: x", "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Uri: /api/v1/secrets", "X-Original-URL: /api/v1/secrets",
    "X-Forwarded-Proto: http", "X-HTTP-Method-Override: DELETE", "x-envoy-retry-on: 5xx",
    "x-envoy-original-path: /api/v1/secrets", "x-envoy-upstream-rq-timeout-ms: 1",
    "kubeflow-userid: admin", "kubeflow_userid: admin", "Connection: authorization",
    "Connection: content-length", "Connection: host", "Connection: x-request-id, close",
    "Connection: Upgrade\r\nUpgrade: websocket", "Upgrade: h2c\r\nConnection: Upgrade",
    "Expect: 100-continue", "TE: trailers", "Trailer: Authorization", "Content-Encoding: gzip",
    "Cookie: a=b", "Authorization: Basic eDp5", "Authorization: Bearer a.b.c", "authorization:",
    "Host: evil", "Content-Type: application/yaml", "Proxy-Authorization: Bearer a.b.c",
    "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.eHg", "User-Agent: \xe9\xff",
    ":path: /api", ":authority: evil", "Range: bytes=0-1", "X-Request-Id: twice",
    "HTTP2-Settings: AAMAAABk", "Accept: application/json;stream=watch", "traceparent: 00-a-b-01",
    "User-Agent: " + "u" * 15_000, "User-Agent: " + "u" * 20_000,
    "\r\n".join(f"X-{number}: y" for number in range(70)),
)  # fmt: skip
_WITHIN = (
    "/", "//", "/./", "/../", "/x/../", "/%2e%2e/", "/..;/", "%2f", "%5c", "\\", "%252f", "/;/",
    "%c0%af", "%00", "%0a", "%20", ".json", ";a=b", "?", "?dryRun=All", "?x=/token", "%3f", "*",
    "$", "|", "/token", "", "A", "~", "-", ".", "%", ",", "=", '"', " junk", "\t", " ", "  ",
    "Bearer ", ", Basic eDp5", "\xa0", "\xe9", "#", " HTTP/1.1",
)  # fmt: skip
_BREAKS = ("\r", "\n", "\r\n", "\r\n ", "\n\t", "\x00", "\x0b", "\x1f", "\x7f", "\r\n\r\n", "\n\n")


def _with_body(draft: Draft, body: bytes) -> None:
    draft.body, draft.head["length"] = body, f"Content-Length: {len(body)}"


def instead(chance: random.Random, draft: Draft) -> None:
    """Another method, target, host, media type or length."""
    place = chance.choice([place for place in _INSTEAD if place in draft.head])
    draft.head[place] = chance.choice(_INSTEAD[place])
    draft.framed &= place != "length"


def within(chance: random.Random, draft: Draft) -> None:
    """A text within the head, or in place of a character; most often in the target."""
    place = chance.choice(["target"] * 8 + ["authorization"] * 4 + [*draft.head])
    old = draft.head[place]
    start = chance.randrange(len(old) + 1)
    if place == "target" and chance.random() < 0.4:
        start = chance.choice([i for i, c in enumerate(old) if c == "/"] or [0])
    end = start + chance.randrange(2)
    encoded = [form.format(ord(c)) for c in old[start:end] for form in ("%{:02x}", "%25{:02x}")]
    new = chance.choice([*_WITHIN, *encoded * 8, old[start:end].swapcase()])
    if chance.random() < 0.03:
        new = chance.choice(_BREAKS)
    draft.head[place] = old[:start] + new + old[end:]
    draft.framed &= place != "length" and new not in ("#", " HTTP/1.1", "\x7f")


def more(chance: random.Random, draft: Draft) -> None:
    draft.head[f"more {len(draft.head)}"] = chance.choice(_MORE)


def _without(chance: random.Random, draft: Draft) -> None:
    draft.head[chance.choice(["host", "id", "authorization", "type"])] = "X-Filler: x"


def _body(chance: random.Random, draft: Draft) -> None:
    chunks = b"2\r\n{}\r\n0\r\nAuthorization: Bearer a.b.c\r\n\r\n"
    bodies = (b"", b"x", SMUGGLED, b"x" * 8192, b"x" * 8193, chunks, b"\x00\r\n\r\n0\r\n")
    _with_body(draft, chance.choice(bodies))


def torn(chance: random.Random, raw: bytes) -> bytes:
    """With bytes dropped, doubled, added or flipped, other ends of lines or another version."""
    start, end = sorted(chance.randrange(len(raw)) for _ in range(2))
    flipped = bytes([raw[start] ^ (1 << chance.randrange(8))])
    version = chance.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b""))
    return chance.choice((
        raw[:start] + raw[start + chance.randrange(1, 5) :],
        raw[:end] + raw[start:],
        raw[:start] + chance.randbytes(chance.randrange(1, 4)) + raw[start:],
        raw[:start] + flipped + raw[start + 1 :],
        raw.replace(b"\r\n", b"\n", chance.randrange(1, 10)),
        raw.replace(b"HTTP/1.1", version, 1),
    ))  # fmt: skip


BENDS = (within, more, instead, _body, _without)
WEIGHTS = (60, 28, 27, 8, 2)
