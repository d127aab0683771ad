"""Where things are: hosts, URLs, the issuer, the prefix, addresses to listen on, files.

Each check returns the value, or raises a fault that names what to write instead.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from daypass._core.kubernetes.syntax import LABEL, is_label
from daypass._core.net import bracketed, is_address
from daypass.config.errors import expected, fault, shown
from daypass.config.types import LIMIT_CHARACTERS, Text
from daypass.rules.patterns import (
    NAMESPACE,
    HostPattern,
    PathPattern,
    PatternError,
    overlap,
)


def is_public_name(host: str) -> bool:
    """Return whether a host is a DNS name, and neither an IP address nor `localhost`."""
    return host != "localhost" and not is_address(host)


def host(text: str) -> str:
    """Return a lower-case DNS name, `localhost`, or an IP address (RFC 5952) without brackets."""
    if "%" not in text and not is_public_name(text):
        return _canonical(text)
    if text != text.lower():
        raise fault(f"{shown(text)} has capital letters", f"write {shown(text.lower())}")
    labels = text.split(".")
    is_name = len(text) <= LIMIT_CHARACTERS and all(map(is_label, labels))
    if not is_name or labels[-1].isdigit():
        raise fault(
            f"{shown(text)} is not a host name",
            "write only the host, such as kubeflow.example.com (other letters in Punycode)",
        )
    return text


def public_name(text: str) -> str:
    """Return a `host` that is a DNS name."""
    if not is_public_name(host(text)):
        raise not_public(text)
    return text


def not_public(text: str, *at: str | int) -> PydanticCustomError:
    """Return the fault for a host that is no DNS name. `at`: leads to it."""
    hint = "write the DNS name; only envoy (one machine) accepts addresses"
    return fault(f"{shown(text)} is not a public name", hint, at=at)


def guarded_host(text: str) -> str:
    """Return a `host`, a pattern of hosts, or EVERY_HOST."""
    return _pattern(text, HostPattern, "hosts") if {"{", "*"} & set(text) else host(text)


def path_pattern(text: str) -> str:
    """Return a pattern of paths."""
    return _pattern(text, PathPattern, "paths")


def _pattern(text: str, kind: type[HostPattern | PathPattern], of: str) -> str:
    try:
        kind.parse(text)
    except PatternError as error:
        raise fault(f"{shown(text)} is no pattern of {of}: {error.fact}", error.hint) from None
    return text


def overlap_hint(a: HostPattern, b: HostPattern, hint: str) -> str:
    """Return what to do about hosts in common: `hint`, or more if a short form has them."""
    for pattern, form in zip((a, b), overlap(a, b) or (), strict=True):
        if form != pattern.text:
            example = form.replace(NAMESPACE, "alice") + pattern.text.removeprefix(form)
            return (
                f"clients may write {shown(form)} for {shown(pattern.text)}: name its namespaces,"
                f" such as {example}"
            )
    return hint


def place(text: str) -> str:
    """Return HOST or HOST/PATH/: a `guarded_host`, and a `path_pattern`."""
    name, slash, path = text.partition("/")
    guarded_host(name)
    if slash:
        path_pattern(slash + path)
    return text


def ip_address(text: str) -> str:
    """Return an IP address (RFC 5952), without brackets and port."""
    if "%" in text or not is_address(text):
        raise fault(
            f"{shown(text)} is not an IP address", "write only the address, such as 10.0.0.1"
        )
    return _canonical(text)


def _canonical(text: str) -> str:
    canonical = text
    if text != "localhost":
        address = ipaddress.ip_address(text)
        # Kubernetes refuses IPv4 addresses in the form of IPv6.
        canonical = str(getattr(address, "ipv4_mapped", None) or address)
    if text != canonical:
        raise fault(
            f"{shown(text)} is not the canonical form of that address", f"write {canonical}"
        )
    return text


_HOST = rf"{LABEL}(\.{LABEL})*|[0-9a-f:.]*:[0-9a-f:.]*"
_PUBLIC_NAME = rf"(?!localhost$|[0-9.]+$){LABEL}(\.{LABEL})*"
Host = Annotated[str, Text(_HOST, check=host)]
PublicName = Annotated[str, Text(_PUBLIC_NAME, check=public_name)]
_PART = rf"(?:{LABEL}|\*|\{{name\}}|\{{namespace\}}|\{{name\}}-\{{namespace\}})"
_PATTERN = rf"(?=.*[{{*]){_PART}(\.{_PART})*\.{LABEL}"
_GUARDED = rf"\*|{_HOST}|{_PATTERN}"
GuardedHost = Annotated[str, Text(_GUARDED, check=guarded_host)]
_SEGMENT = r"(?:[A-Za-z0-9._~-]+|\{(?:name|namespace)\})"
_PATH = rf"/(?:{_SEGMENT}/)*"
PathForm = Annotated[str, Text(_PATH, check=path_pattern)]
PlaceForm = Annotated[
    str, Text(rf"(?:{_GUARDED})(?:{_PATH})?", longest=2 * LIMIT_CHARACTERS, check=place)
]
IpAddress = Annotated[str, Text(r"[0-9a-f:.]+", check=ip_address)]

LIMIT_URL_CHARACTERS = 1024
_AUTHORITY = r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\\\s]+)(?::([1-9][0-9]{0,4}))?"
_HTTPS = re.compile(rf"(https)://{_AUTHORITY}")
_UPSTREAM = re.compile(rf"(https?|h2c)://{_AUTHORITY}")


def split_origin(origin: str) -> tuple[str, int]:
    """Return host (no brackets) and port of a checked origin; 443 or 80 if it names no port."""
    match = _UPSTREAM.fullmatch(origin)
    assert match is not None, origin  # noqa: S101 - every origin in a config has been checked
    scheme, name, port = match.groups()
    return name.strip("[]"), int(port) if port else 443 if scheme == "https" else 80


def https_origin(text: str) -> str:
    """Return a URL of https, a host and an optional port, and nothing else."""
    return _origin(text, _HTTPS, "https")


def upstream_origin(text: str) -> str:
    """Return such a URL with https, http or h2c: HTTP/2 without TLS, for gRPC servers."""
    return _origin(text, _UPSTREAM, "http")


def _origin(text: str, known: re.Pattern[str], scheme: str) -> str:
    match = known.fullmatch(text)
    if match is None or int(match[3] or 0) > 65535:
        value = "the URL" if "@" in text else shown(text)  # it may hold a password
        hint = f"write {scheme}://HOST or {scheme}://HOST:PORT, without a path or a user"
        raise fault(f"{value} is not the {scheme} URL of a server", hint)
    host(match[2].strip("[]"))
    return text


_ORIGIN_SCHEMA = r"://(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[1-9][0-9]{0,4})?"

HttpsOrigin = Annotated[
    str, Text("https" + _ORIGIN_SCHEMA, longest=LIMIT_URL_CHARACTERS, check=https_origin)
]
UpstreamOrigin = Annotated[
    str,
    Text("(?:https?|h2c)" + _ORIGIN_SCHEMA, longest=LIMIT_URL_CHARACTERS, check=upstream_origin),
]
# As in the API server's --service-account-issuer: a URL, or a string without a colon
# (k8s.io/kubernetes/pkg/kubeapiserver/options).
Issuer = Annotated[
    str,
    Text(
        r"[a-z][a-z0-9+.-]*://[^\s/?#]+[^\s?#]*|[^\s:]+",
        "a valid issuer",
        "copy the claim `iss` of a short-lived token",
        LIMIT_URL_CHARACTERS,
    ),
]

PREFIX = r"(?:/[a-z0-9]+(?:-+[a-z0-9]+)*)+"
ADDRESS = r"(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):(0|[1-9][0-9]{0,4})"
_ADDRESS = re.compile(ADDRESS)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect. `port` 0: any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def address(value: object) -> Address:
    """Return HOST:PORT on this machine as an Address."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise expected('an address such as 127.0.0.1:8443 (or "[::1]:8443", in quotes)')
    match = _ADDRESS.fullmatch(value)
    name = match[1].strip("[]") if match else ""
    is_known = name == "localhost" or is_address(name)
    if (
        match is None
        or not is_known
        or (":" in name) != match[1].startswith("[")
        or int(match[2]) > 65535
    ):
        raise fault(
            f"{shown(value)} is not an address to listen on",
            'write an address of this machine: 127.0.0.1:8443, localhost:8443 or "[::1]:8443"',
        )
    return Address(name if name == "localhost" else str(ipaddress.ip_address(name)), int(match[2]))


def file_path(value: object, info: ValidationInfo) -> Path:
    """Return a path relative to the config file's folder (`folder` in the validation context)."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise expected("the path of a file")
    if not value or not value.isprintable() or value.startswith("~"):
        raise fault(f"{shown(value)} is not a path", "write a path, relative to the config file")
    folder = (info.context or {}).get("folder")
    return Path(value) if folder is None else folder / value


Prefix = Annotated[
    str,
    Text(
        PREFIX,
        "a valid prefix",
        "write one such as /kubernetes: parts of a-z, 0-9 and -, without a slash at the end",
        64,
    ),
]
ListenAddress = Annotated[
    Address,
    PlainValidator(address, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(Text(ADDRESS, longest=64).json_schema()),
]
FilePath = Annotated[
    Path,
    PlainValidator(file_path, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(Text(r"[^~].*", longest=LIMIT_URL_CHARACTERS).json_schema()),
]
