"""Where things are: URLs, the issuer, the prefix, addresses to listen on, files.

Each check returns the value, or raises a fault that names what to write instead.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, PlainValidator, ValidationInfo

from daypass._core.net import bracketed
from daypass.config.errors import expected, fault, shown
from daypass.config.hosts import host
from daypass.config.types import text_schema

LIMIT_CHARACTERS = 1024
_AUTHORITY = r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\\\s]+)(?::([1-9][0-9]{0,4}))?"
_ORIGIN = re.compile(rf"(https?)://{_AUTHORITY}")
_UPSTREAM = re.compile(rf"(https?|h2c)://{_AUTHORITY}")
_ISSUER = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#]+[^\s?#]*|[^\s:]+", re.ASCII)


def split_origin(origin: str) -> tuple[str, int]:
    """Return host (no brackets) and port of a checked origin; 443 or 80 if it names no port."""
    match = _UPSTREAM.fullmatch(origin)
    assert match is not None, origin  # noqa: S101 - every origin in a config has been checked
    scheme, name, port = match.groups()
    return name.strip("[]"), int(port) if port else 443 if scheme == "https" else 80


def origin(text: str, *, usual: str = "http", known: re.Pattern[str] = _ORIGIN) -> str:
    """Return a URL of a scheme (http or https), a host and an optional port, and nothing else.

    `usual`: the scheme to suggest if there is none.
    """
    match = known.fullmatch(text)
    if match is None:
        # It may hold a password.
        value = "the URL" if "@" in text else shown(text)
        raise fault(f"{value} {_origin_mistake(text, known)}", _origin_hint(text, usual))
    host(match[2].strip("[]"))
    if match[3] and int(match[3]) > 65535:
        raise fault(f"{shown(text)} has a port above 65535")
    return text


def https_origin(text: str) -> str:
    """Return an `origin` with https."""
    if text.startswith("http://") and _ORIGIN.fullmatch(text):
        raise fault(f"{shown(text)} is plain http", f"write {shown('https' + text[4:])}")
    return origin(text, usual="https")


def upstream_origin(text: str) -> str:
    """Return an `origin`, or one with h2c: HTTP/2 without TLS, for gRPC servers."""
    return origin(text, known=_UPSTREAM)


def _origin_mistake(text: str, known: re.Pattern[str]) -> str:
    rest = text.partition("://")[2]
    authority, slash, _ = rest.partition("/")
    reasons = [
        (not rest, "is not a URL"),
        (
            known.match(f"{text.partition('://')[0]}://host") is None,
            "has an unknown scheme",
        ),
        ("@" in authority, "has a user name or a password in it"),
        ("?" in rest or "#" in rest, "has a query or a fragment"),
        (bool(slash), "has a path"),
    ]
    return next((reason for wrong, reason in reasons if wrong), "is not the URL of a server")


def _origin_hint(text: str, usual: str) -> str:
    match = re.match(rf"(?:(?:https?|h2c|grpcs?)://)?(?:[^/@]*@)?({_AUTHORITY})(?=[/?#]|$)", text)
    secure = usual == "https" or text.startswith(("https://", "grpcs://"))
    scheme = "https" if secure else "h2c" if text.startswith(("h2c://", "grpc://")) else "http"
    if match is None:
        return f"write {scheme}://HOST or {scheme}://HOST:PORT"
    return f"write {shown(f'{scheme}://{match[1]}')}"


def issuer(text: str) -> str:
    """Return the `iss` of tokens, exactly as in the API server's --service-account-issuer.

    A URL, or a string without a colon (k8s.io/kubernetes/pkg/kubeapiserver/options).
    """
    if len(text) > LIMIT_CHARACTERS or not text.isprintable() or not _ISSUER.fullmatch(text):
        raise fault(
            f"{shown(text)} is not a valid issuer", "copy the claim `iss` of a short-lived token"
        )
    return text


_ORIGIN_SCHEMA = r"://(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[1-9][0-9]{0,4})?"

HttpsOrigin = Annotated[
    str, AfterValidator(https_origin), text_schema("https" + _ORIGIN_SCHEMA, LIMIT_CHARACTERS)
]
UpstreamOrigin = Annotated[
    str,
    AfterValidator(upstream_origin),
    text_schema("(?:https?|h2c)" + _ORIGIN_SCHEMA, LIMIT_CHARACTERS),
]
Issuer = Annotated[str, AfterValidator(issuer), text_schema(r"[^\s]+", LIMIT_CHARACTERS)]

LIMIT_PREFIX_CHARACTERS = 64
PREFIX = r"(?:/[a-z0-9]+(?:-+[a-z0-9]+)*)+"
ADDRESS = r"(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):(0|[1-9][0-9]{0,4})"
_PREFIX = re.compile(PREFIX)
_ADDRESS = re.compile(ADDRESS)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect. `port` 0: any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def prefix(text: str) -> str:
    """Return the path under which the door is published; no character means more in a regex."""
    mistakes = [
        (not text.startswith("/"), "does not begin with /", "write /kubernetes"),
        (text == "/", "would publish the door at the root of the domain", "write /kubernetes"),
        (text.endswith("/"), "ends with /", f"write {shown(text.rstrip('/'))}"),
        ("//" in text, "has an empty part", "write a single /"),
        ("%" in text, "has a percent sign", "proxies disagree about its meaning"),
        (text != text.lower(), "has capital letters", f"write {shown(text.lower())}"),
        (
            not _PREFIX.fullmatch(text),
            "is not a valid prefix",
            "use parts of a-z, 0-9 and -, each beginning and ending with a letter or digit",
        ),
        (len(text) > LIMIT_PREFIX_CHARACTERS, f"is longer than {LIMIT_PREFIX_CHARACTERS}", ""),
    ]
    for wrong, message, hint in mistakes:
        if wrong:
            raise fault(f"{shown(text)} {message}", hint)
    return text


def address(value: object) -> Address:
    """Return HOST:PORT on this machine as an Address."""
    if isinstance(value, Address):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise expected('an address such as 127.0.0.1:8443 (or "[::1]:8443", in quotes)')
    text = str(value)
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise fault(f"{shown(text)} is not an address to listen on", _address_hint(text))
    name = match[1].strip("[]")
    if name != "localhost":
        try:
            name = str(ipaddress.ip_address(name))
        except ValueError:
            raise fault(
                f"{shown(text)} is not an address to listen on", "write a valid IP address"
            ) from None
        if (":" in name) != match[1].startswith("["):
            raise fault(f"{shown(text)} is not an address to listen on", "brackets are for IPv6")
    return Address(name, int(match[2]))


def _address_hint(text: str) -> str:
    port = re.fullmatch(r":?([0-9]{1,5})", text)
    if port:
        return f"write 127.0.0.1:{port[1]}"
    if re.fullmatch(r"[a-z0-9.-]*[a-z][a-z0-9.-]*:[0-9]+", text):
        return "write an IP address of this machine, or localhost, and the port"
    return 'write it like 127.0.0.1:8443, localhost:8443 or "[::1]:8443"; ports go up to 65535'


def file_path(value: object, info: ValidationInfo) -> Path:
    """Return a path relative to the config file's folder (`folder` in the validation context)."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise expected("the path of a file")
    if value.startswith("-----BEGIN"):
        raise fault("this is a certificate", "put it into a file, and write the file's name")
    if not value or not value.isprintable() or len(value) > LIMIT_CHARACTERS:
        raise fault(f"{shown(value)} is not a path", "write a path, relative to the config file")
    if value.startswith("~"):
        raise fault(f"{shown(value)} begins with ~, which is not expanded", "write the whole path")
    folder = (info.context or {}).get("folder")
    return Path(value) if folder is None else folder / value


Prefix = Annotated[str, AfterValidator(prefix), text_schema(PREFIX, LIMIT_PREFIX_CHARACTERS)]
ListenAddress = Annotated[
    Address,
    PlainValidator(address, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
    text_schema(ADDRESS, 64),
]
FilePath = Annotated[
    Path,
    PlainValidator(file_path, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
    text_schema(r"[^~].*", LIMIT_CHARACTERS),
]
