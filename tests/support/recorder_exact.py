"""What an exact TokenRequest looks like on arrival, written without the door's own patterns."""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Iterator

ALLOWED = frozenset(
    (
        "accept", "authorization", "content-length", "content-type", "host", "traceparent",
        "user-agent", "x-forwarded-for", "x-request-id",
    )
)  # fmt: skip
ONCE = ALLOWED - {"accept", "traceparent", "user-agent"}
"""Headers that two readers could take for different ones if there were two of them."""
EDGE = frozenset(string.ascii_lowercase + string.digits)
TOKEN = frozenset(string.ascii_letters + string.digits + "-_")
BODY_LIMIT_BYTES = {"POST": 8192, "GET": 1}


def faults(raw: bytes, *, host: str) -> Iterator[str]:
    """Everything in a request, read as HTTP/1.1, that an exact TokenRequest would not have."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    for line in lines:
        if any((c < " " and c != "\t") or c == "\x7f" for c in line):
            yield f"a control character in {line!r}"
    method, target, version = [*lines[0].split(" "), "", ""][:3]
    if method not in BODY_LIMIT_BYTES or version != "HTTP/1.1" or lines[0].count(" ") != 2:
        yield f"the request line {lines[0]!r}"
    if not is_token_request(target):
        yield f"the target {target!r}"
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            yield f"the header line {line!r}"
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    yield from _header_faults(headers, method, host)
    length = headers.get("content-length", ["0" if not body else "none"])[0]
    if not length.isdecimal() or int(length) != len(body):
        yield f"content-length {length!r} of {len(body)} bytes"
    if len(body) > BODY_LIMIT_BYTES.get(method, 0):
        yield f"{len(body)} bytes of body"


def is_token_request(target: str) -> bool:
    """Whether a target is that of a TokenRequest of the API server, letter by letter."""
    match target.split("/"):
        case ["", "api", "v1", "namespaces", namespace, "serviceaccounts", account, "token"]:
            return _is_label(namespace, 63) and len(account) <= 253 and _is_subdomain(account)
    return False


def _header_faults(headers: dict[str, list[str]], method: str, host: str) -> Iterator[str]:
    for name, values in headers.items():
        if name not in ALLOWED:
            yield f"the header {name}"
        elif name in ONCE and len(values) != 1:
            yield f"{name} {len(values)} times"
    if headers.get("host") != [host]:
        yield f"host {headers.get('host')}"
    if "authorization" not in headers and method == "POST":
        yield "a POST without authorization"
    if not all(_is_bearer(value) for value in headers.get("authorization", [])):
        yield "an authorization of another form"
    if not all(_is_media_type(value) for value in headers.get("content-type", [])):
        yield f"content-type {headers['content-type']}"
    try:
        ipaddress.ip_address(headers.get("x-forwarded-for", [""])[0])
    except ValueError:
        yield f"x-forwarded-for {headers.get('x-forwarded-for')}"


def _is_label(text: str, limit: int) -> bool:
    return (
        0 < len(text) <= limit
        and {text[0], text[-1]} <= EDGE
        and set(text) <= EDGE | {"-"}
    )  # fmt: skip


def _is_subdomain(text: str) -> bool:
    return all(_is_label(part, 253) for part in text.split("."))


def _is_bearer(value: str) -> bool:
    scheme, _, token = value.partition(" ")
    parts = token.split(".")
    return scheme == "Bearer" and len(parts) == 3 and all(p and set(p) <= TOKEN for p in parts)


def _is_media_type(value: str) -> bool:
    media_type, *parameters = (part.strip(" \t").lower() for part in value.split(";"))
    known = ("", "application/json", "application/vnd.kubernetes.protobuf")
    plain = [parameter.replace('"', "") for parameter in parameters]
    return media_type in known and plain in ([], ["charset=utf-8"])
