"""Hostile requests without end.

Every request begins as an exact TokenRequest and is bent in one to three places. Which places and
how follows from a seed, so that a run can be had again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
    """A request while it is bent."""

    number: int
    method: str
    target: str
    lines: list[str]
    body: bytes
    length: str | None = None
    whole: bool = True

    def raw(self) -> bytes:
        length = f"Content-Length: {len(self.body)}" if self.length is None else self.length
        first = f"{self.method} {self.target} HTTP/1.1"
        lines = [first, *self.lines, *([length] if length else [])]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def hostile_requests(seed: int) -> Iterator[Attempt]:
    chance = random.Random(seed)  # noqa: S311 - chosen to be had again, not to be secret
    number = 0
    while True:
        number += 1
        draft = Draft(
            number=number,
            method="POST" if chance.random() < 0.9 else "GET",
            target=f"{START}/team-{number % 7}/serviceaccounts/bot-{number % 11}/token",
            lines=[
                f"Host: {EKF if number % 2 else SERVING}",
                f"X-Request-Id: h{number}",
                f"Authorization: Bearer {token_of(number)}",
                "Content-Type: application/json",
            ],
            body=b'{"n":%d}' % number,
        )
        if draft.method == "GET":
            draft.body = b""
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            chance.choices(BENDS, WEIGHTS)[0](chance, draft)
        raw = draft.raw()
        if chance.random() < 0.05:
            raw, draft.whole = chance.choice(RAW_BENDS)(chance, raw), False
        yield Attempt(number=number, raw=raw, body=draft.body, whole=draft.whole)


def hostile_upgrades(seed: int, authorization: str) -> Iterator[bytes]:
    """Handshakes of a WebSocket, bent in one to three places; each is followed by SMUGGLED.

    No body is chunked, so that a simple server behind tells one request from the next.
    """
    chance = random.Random(seed)  # noqa: S311 - as above
    bends = [(bend, weight) for bend, weight in _WEIGHED if bend is not _coding]
    while True:
        draft = Draft(
            number=0,
            method="GET",
            target="/ws",
            lines=[
                f"Host: {EKF}", "Upgrade: websocket", f"Authorization: {authorization}",
                "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
            ],
            body=b"",
            length="",
        )  # fmt: skip
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            chance.choices(*zip(*bends, strict=True))[0](chance, draft)
        raw = draft.raw()
        if chance.random() < 0.1:
            raw = chance.choice(RAW_BENDS)(chance, raw)
        yield raw + SMUGGLED


def token_of(number: int) -> str:
    """The token of an attempt. The number twice: bent in one place, it is no other attempt's."""
    return f"e30.t{number}-{number}.sig"


# 1. What keeps the request whole.

_SLASHES = (
    "//", "/./", "/../", "/x/../", "/%2e/", "/%2e%2e/", "/..;/", "%2f", "%2F", "%5c", "\\",
    "%252f", "/;/", "%c0%af", "/%00/", "",
)  # fmt: skip
_ENDS = (
    "/", "//", "/x", "x", "/..", "/.", "%00", "%0a", "%20", ".json", ";a=b", "?", "?dryRun=All",
    "?x=/token", "%3f", "%2f", "*", "$", "|", "/token", "?/serviceaccounts/bot/token",
)  # fmt: skip
_TARGETS = (
    "/", "*", "/api", "/api/v1/secrets", f"{START}/team/secrets", "/healthz", "/kubernetes",
    f"{START}/team/serviceaccounts", f"{START}/team/pods/x/exec", "/metrics", "/config_dump",
    f"https://{EKF}{START}/team/serviceaccounts/bot/token", f"{EKF}:443",
)  # fmt: skip
_METHODS = (
    "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "CONNECT", "post", "BREW",
)  # fmt: skip
_HOSTS = (
    "evil.example.com", "kubernetes.default.svc", f"{EKF}.", f"{EKF}:443", f"{EKF}:x", "",
    f"x.{EKF}", f"{EKF},evil", f"user@{EKF}", EKF.upper(), "127.0.0.1", "[::1]",
)  # fmt: skip
_SCHEMES = (
    "bearer ", "BEARER ", "Bearer  ", "Bearer\t", "Basic ", "", "Token ", "Bearer, ", "x Bearer ",
)  # fmt: skip
_TOKEN_ENDS = (" junk", ",", ".", "=", ";x", "\t", " ", ", Basic eDp5", "\xa0", " Bearer a.b.c")
_TYPES = (
    "application/yaml", "application/vnd.kubernetes.protobuf", "", "text/plain", "*/*",
    "application/json; charset=utf-8", "application/json;stream=watch", "application/json,x/y",
    "APPLICATION/JSON", "application/json-patch+json", "application/json;",
)  # fmt: skip
_HEADERS = (
    "Impersonate-User: admin", "Impersonate-Group: system:masters", "Impersonate-Uid: 0",
    "Impersonate-Extra-Scopes: x", "X-Remote-User: admin", "X-Remote-Group: system:masters",
    "X-Forwarded-Client-Cert: x", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Uri: /api/v1/secrets",
    "X-Original-URL: /api/v1/secrets", "X-Rewrite-URL: /api/v1/secrets", "X-Forwarded-Proto: http",
    "X-Forwarded-Host: evil", "X-HTTP-Method-Override: DELETE", "x-envoy-retry-on: 5xx",
    "x-envoy-original-path: /api/v1/secrets", "x-envoy-upstream-rq-timeout-ms: 1",
    "x-envoy-internal: true", "x-envoy-decorator-operation: x", "kubeflow-userid: admin",
    "kubeflow_userid: admin", "Impersonate_User: admin", "Connection: authorization",
    "Connection: content-length", "Connection: host", "Connection: x-request-id, close",
    "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c", "Expect: 100-continue",
    "TE: trailers", "Trailer: Authorization", "Content-Encoding: gzip", "Cookie: a=b",
    "Authorization: Basic eDp5", "Authorization: Bearer a.b.c", "authorization:", "Host: evil",
    "Content-Type: application/yaml", "Proxy-Authorization: Bearer a.b.c", "Via: 1.1 x",
    "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.eHg", "User-Agent: \xe9\xff",
    ":path: /api", ":authority: evil", "Range: bytes=0-1", "X-Request-Id: twice", "Keep-Alive: 1",
    "HTTP2-Settings: AAMAAABk", "Accept: application/json;stream=watch", "traceparent: 00-a-b-01",
)  # fmt: skip


def _at(chance: random.Random, text: str, new: str, *, over: int = 0) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + new + text[place + over :]


def _slash(chance: random.Random, draft: Draft) -> None:
    places = [i for i, c in enumerate(draft.target) if c == "/"] or [0]
    place = chance.choice(places)
    draft.target = draft.target[:place] + chance.choice(_SLASHES) + draft.target[place + 1 :]


def _character(chance: random.Random, draft: Draft) -> None:
    place = chance.randrange(max(len(draft.target), 1))
    old = draft.target[place : place + 1] or "x"
    new = chance.choice(
        (f"%{ord(old):02x}", f"%25{ord(old):02x}", old.swapcase(), chance.choice("!-._~;:@&=+,%$|"))
    )
    draft.target = draft.target[:place] + new + draft.target[place + 1 :]


def _end(chance: random.Random, draft: Draft) -> None:
    draft.target += chance.choice(_ENDS)


def _name(chance: random.Random, draft: Draft) -> None:
    names = ("a" * 63, "a" * 64, "a.b", "-a", "a-", ".", "..", "A", "", "a_b", "b" * 253, "b" * 254)
    draft.target = (
        f"{START}/{chance.choice(names)}/serviceaccounts/{chance.choice(names)}/token"
    )  # fmt: skip


def _target(chance: random.Random, draft: Draft) -> None:
    draft.target = chance.choice(_TARGETS)


def _method(chance: random.Random, draft: Draft) -> None:
    draft.method = chance.choice(_METHODS)


def _host(chance: random.Random, draft: Draft) -> None:
    draft.lines[0] = f"Host: {chance.choice(_HOSTS)}"


def _authorization(chance: random.Random, draft: Draft) -> None:
    token = token_of(draft.number)
    draft.lines[2] = "Authorization: " + chance.choice(
        (chance.choice(_SCHEMES) + token, f"Bearer {token}{chance.choice(_TOKEN_ENDS)}", "Bearer")
    )


def _without_a_line(chance: random.Random, draft: Draft) -> None:
    draft.lines[chance.randrange(len(draft.lines))] = f"X-Filler: {draft.number}"


def _media_type(chance: random.Random, draft: Draft) -> None:
    draft.lines[3] = f"Content-Type: {chance.choice(_TYPES)}"


def _header(chance: random.Random, draft: Draft) -> None:
    draft.lines.append(chance.choice(_HEADERS))


def _header_character(chance: random.Random, draft: Draft) -> None:
    place = chance.randrange(len(draft.lines))
    visible = chr(chance.choice((*range(0x21, 0x7F), *range(0xA0, 0x100), 0x20, 0x09)))
    draft.lines[place] = _at(chance, draft.lines[place], visible, over=chance.randrange(2))


def _many_headers(chance: random.Random, draft: Draft) -> None:
    draft.lines += [f"X-{i}: y" for i in range(chance.choice((10, 60, 70)))]


def _large_header(chance: random.Random, draft: Draft) -> None:
    draft.lines.append("User-Agent: " + "u" * chance.choice((1000, 15_000, 20_000)))


def _body(chance: random.Random, draft: Draft) -> None:
    draft.body = chance.choice(
        (b"", b"x", SMUGGLED, b"x" * 8192, b"x" * 8193, b"\x00\r\n\r\n0\r\n")
    )


# 2. What may break it: lengths, line ends, bytes that are no text.

_LENGTHS = (
    "Content-Length: +{}", "Content-Length: {},{}", "Content-Length: 0{}", "Content-Length: x",
    "Content-Length: {}\r\nContent-Length: {}", "Content-Length: {}\r\nContent-Length: 0",
    "Content-Length: 0", "Content-Length: 9999999", "Content-Length : {}", "Content_Length: {}",
    "Content-Length: -{}", "Content-Length:\r\n {}", "Content-Length: {}\x0b", "",
    "Content-Length: {}\r\nTransfer-Encoding: chunked", "Content-Length: 1",
)  # fmt: skip
_CODINGS = (
    "chunked", "Chunked", "identity", "identity, chunked", "chunked, identity", "xchunked",
    "\x0bchunked", "chunked\r\nTransfer-Encoding: chunked", "chunked;q=1", "", "\tchunked",
    "chunked\r\nContent-Length: 5", "\r\n chunked", "chunked\nX: y",
)  # fmt: skip
_CHUNKED = (
    "{0}\r\n{1}\r\n0\r\n\r\n", "{0};x=y\r\n{1}\r\n0\r\n\r\n", "{0}\n{1}\n0\n\n",
    "0{0}\r\n{1}\r\n00\r\n\r\n", "{0} \r\n{1}\r\n0\r\n\r\n", "+{0}\r\n{1}\r\n0\r\n\r\n",
    "{0}\r\n{1}0\r\n\r\n", "{0}\r\n{1}\r\n0\r\nX: y\r\n\r\n", "fffffffff{0}\r\n{1}\r\n0\r\n\r\n",
    "{0}\r\n{1}\r\n0\r\nAuthorization: Bearer a.b.c\r\n\r\n", "0\r\n\r\n{1}",
    "{0};\n{1}\r\n0\r\n\r\n", "{0}\r\n{1}\r\n", "0x{0}\r\n{1}\r\n0\r\n\r\n",
)  # fmt: skip
_BREAKS = ("\r", "\n", "\r\n", "\r\n ", "\n\t", "\x00", "\x0b", "\x1f", "\x7f", "\r\n\r\n", "\n\n")


def _length(chance: random.Random, draft: Draft) -> None:
    length = len(draft.body)
    draft.length, draft.whole = chance.choice(_LENGTHS).format(length, length), False


def _coding(chance: random.Random, draft: Draft) -> None:
    body = draft.body.decode("latin-1")
    draft.body = chance.choice(_CHUNKED).format(f"{len(body):x}", body).encode("latin-1")
    draft.length, draft.whole = f"Transfer-Encoding: {chance.choice(_CODINGS)}", False


def _break(chance: random.Random, draft: Draft) -> None:
    place = chance.randrange(len(draft.lines))
    draft.lines[place] = _at(chance, draft.lines[place], chance.choice(_BREAKS))
    draft.whole = False


def _target_break(chance: random.Random, draft: Draft) -> None:
    new = chance.choice(
        (*_BREAKS, " ", "\t", "#", "\xe9", "\x80", " HTTP/1.1", " HTTP/1.1\r\nX: y")
    )
    draft.target, draft.whole = _at(chance, draft.target, new), False


def _upgrade(chance: random.Random, draft: Draft) -> None:
    draft.lines += [f"Upgrade: {chance.choice(('websocket', 'h2c', 'x'))}", "Connection: Upgrade"]
    draft.whole = False


def _flip(chance: random.Random, raw: bytes) -> bytes:
    place = chance.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ (1 << chance.randrange(8))]) + raw[place + 1 :]


def _drop(chance: random.Random, raw: bytes) -> bytes:
    place = chance.randrange(len(raw))
    return raw[:place] + raw[place + chance.randrange(1, 5) :]


def _insert(chance: random.Random, raw: bytes) -> bytes:
    place = chance.randrange(len(raw))
    return raw[:place] + chance.randbytes(chance.randrange(1, 4)) + raw[place:]


def _double(chance: random.Random, raw: bytes) -> bytes:
    first, last = sorted(chance.randrange(len(raw)) for _ in range(2))
    return raw[:last] + raw[first:]


def _bare_line_ends(chance: random.Random, raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n", chance.randrange(1, 10))


def _version(chance: random.Random, raw: bytes) -> bytes:
    version = chance.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b""))
    return raw.replace(b"HTTP/1.1", version, 1)


_WEIGHED: tuple[tuple[Callable[[random.Random, Draft], None], int], ...] = (
    (_slash, 14), (_character, 16), (_end, 12), (_name, 5), (_target, 4), (_method, 5), (_host, 6),
    (_authorization, 14), (_without_a_line, 2), (_media_type, 8), (_header, 24),
    (_header_character, 8), (_many_headers, 1), (_large_header, 1), (_body, 8), (_length, 2),
    (_coding, 3), (_break, 2), (_target_break, 1), (_upgrade, 1),
)  # fmt: skip
BENDS = [bend for bend, _ in _WEIGHED]
WEIGHTS = [weight for _, weight in _WEIGHED]
RAW_BENDS = (_flip, _drop, _insert, _double, _bare_line_ends, _version)
