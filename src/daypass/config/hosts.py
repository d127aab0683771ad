"""The hosts that a config may name: DNS names, `localhost`, IP addresses, and `*` for every host.

Each check returns the value, or raises a fault that names what to write instead.
"""

import ipaddress
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from daypass._core.kubernetes.syntax import LABEL, is_label
from daypass._core.net import is_address
from daypass.config.errors import fault, shown
from daypass.config.types import LIMIT_CHARACTERS, text_schema
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
    for wrong, message, hint in _host_mistakes(text):
        if wrong:
            raise fault(f"{shown(text)} {message}", hint)
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


def _host_mistakes(text: str) -> list[tuple[bool, str, str]]:
    """Return the possible mistakes: whether the host has each one, its message and its hint."""
    too_long = len(text) > LIMIT_CHARACTERS
    labels = text.split(".")
    no_label = next((part for part in labels if not is_label(part)), None)
    return [
        (not text, "is not a host name", "write a name such as kubeflow.example.com"),
        (too_long, f"is longer than {LIMIT_CHARACTERS} characters", ""),
        ("://" in text, "is a URL", "write only the host, such as kubeflow.example.com"),
        (
            "*" in text,
            "is a wildcard",
            "write each host by its name",
        ),
        (text.startswith("["), "has brackets", "write the address without them"),
        ("/" in text, "has a path", "write only the host"),
        (bool(re.search(r":[0-9]+$", text)), "has a port", "write only the host"),
        (text.endswith("."), "ends with a dot", "leave the dot out"),
        (not text.isascii(), "is not ASCII", "" if too_long else _punycode_hint(text)),
        (
            text != text.lower(),
            "has capital letters",
            f"write {shown(text.lower().replace('_', '-'))}",
        ),
        ("" in labels, "has an empty part", "write one dot between the parts"),
        ("_" in text, "has an underscore, which host names cannot have", "use - instead"),
        (
            no_label is not None,
            "is not a host name",
            f"the part {shown(no_label or '')} must be 1 to 63 of a-z, 0-9 and -,"
            " with no - at either end",
        ),
        (labels[-1].isdigit(), "is neither a host name nor an IP address", ""),
    ]


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


def _punycode_hint(text: str) -> str:
    """Return how to write a name in Punycode (RFC 3492)."""
    parts = unicodedata.normalize("NFKC", text).lower().split(".")
    encoded = [
        part if part.isascii() else "xn--" + part.encode("punycode").decode() for part in parts
    ]
    name = ".".join(encoded)
    if all(map(is_label, encoded)):
        return f"write it in Punycode: {name}"
    return "write it in Punycode, with xn--"


_HOST = rf"{LABEL}(\.{LABEL})*|[0-9a-f:.]*:[0-9a-f:.]*"
_PUBLIC_NAME = rf"(?!localhost$|[0-9.]+$){LABEL}(\.{LABEL})*"
Host = Annotated[str, AfterValidator(host), text_schema(_HOST)]
PublicName = Annotated[str, AfterValidator(public_name), text_schema(_PUBLIC_NAME)]
_PART = rf"(?:{LABEL}|\*|\{{name\}}|\{{namespace\}}|\{{name\}}-\{{namespace\}})"
_PATTERN = rf"(?=.*[{{*]){_PART}(\.{_PART})*\.{LABEL}"
_GUARDED = rf"\*|{_HOST}|{_PATTERN}"
GuardedHost = Annotated[str, AfterValidator(guarded_host), text_schema(_GUARDED)]
_SEGMENT = r"(?:[A-Za-z0-9._~-]+|\{(?:name|namespace)\})"
_PATH = rf"/(?:{_SEGMENT}/)*"
PathForm = Annotated[str, AfterValidator(path_pattern), text_schema(_PATH)]
PlaceForm = Annotated[
    str,
    AfterValidator(place),
    text_schema(rf"(?:{_GUARDED})(?:{_PATH})?", 2 * LIMIT_CHARACTERS),
]
IpAddress = Annotated[str, AfterValidator(ip_address), text_schema(r"[0-9a-f:.]+")]
