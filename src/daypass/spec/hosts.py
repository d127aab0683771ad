"""Host names and IP addresses in a config."""

import ipaddress
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from daypass.spec.faults import fault
from daypass.spec.names import LABEL, LIMIT_CHARACTERS, SUBDOMAIN, text_schema
from daypass.spec.wording import shown

EVERY_HOST = "*"
"""In `gate.hosts`: whatever a client asks for."""

_LABEL = re.compile(LABEL)


def is_address(host: str) -> bool:
    """Whether a host is an IP address or `localhost`, not a public name."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host(text: str) -> str:
    """A DNS name in lower case, `localhost`, or an IP address (RFC 5952) without brackets."""
    if "%" not in text and is_address(text):
        return _canonical(text)
    for wrong, message, hint in _host_mistakes(text):
        if wrong:
            raise fault(f"{shown(text)} {message}", hint)
    return text


def guarded_host(text: str) -> str:
    """A host as above, or EVERY_HOST."""
    if text != EVERY_HOST and "*" in text:
        raise fault(
            f"{shown(text)} is a wildcard",
            f"write each host itself, or {shown(EVERY_HOST)} for every one (engine istio)",
        )
    return text if text == EVERY_HOST else host(text)


def ip_address(text: str) -> str:
    """An IP address (RFC 5952), without brackets and port."""
    if "%" in text or text == "localhost" or not is_address(text):
        raise fault(f"{shown(text)} is no IP address", "write the address alone, such as 10.0.0.1")
    return _canonical(text)


def _host_mistakes(text: str) -> list[tuple[bool, str, str]]:
    """What can be wrong with a host, the most telling first: is it, what is it, what to do."""
    too_long = len(text) > LIMIT_CHARACTERS
    labels = text.split(".")
    no_label = next((part for part in labels if not _LABEL.fullmatch(part)), None)
    return [
        (not text, "is no host", "write a name such as ekf.example.com"),
        (too_long, f"is longer than {LIMIT_CHARACTERS} characters", ""),
        ("://" in text, "is a URL", "write the host alone, such as ekf.example.com"),
        (
            "*" in text,
            "is a wildcard",
            "write the host itself: what is reachable is listed name by name",
        ),
        (text.startswith("["), "has brackets", "write the address without them"),
        ("/" in text, "has a path", "write the host alone"),
        (bool(re.search(r":[0-9]+$", text)), "has a port", "write the host alone"),
        (text.endswith("."), "ends with a dot", "leave the dot out"),
        (not text.isascii(), "is not ASCII", "" if too_long else _punycode_hint(text)),
        (text != text.lower(), "has capital letters", f"write {shown(text.lower())}"),
        ("" in labels, "has an empty part", "write one dot between the parts"),
        ("_" in text, "has an underscore, which no host name has", "write - instead?"),
        (
            no_label is not None,
            "is no host",
            f"the part {shown(no_label or '')} must be 1 to 63 of a-z, 0-9 and -,"
            " with no - at either end",
        ),
        (labels[-1].isdigit(), "is neither a host name nor an IP address", ""),
    ]


def _canonical(text: str) -> str:
    canonical = str(ipaddress.ip_address(text)) if text != "localhost" else text
    if text != canonical:
        raise fault(f"{shown(text)} is not how that address is written", f"write {canonical}")
    return text


def _punycode_hint(text: str) -> str:
    """The name as the DNS has it (RFC 3492), if that is all that is wrong with it."""
    parts = unicodedata.normalize("NFKC", text).lower().split(".")
    encoded = [
        part if part.isascii() else "xn--" + part.encode("punycode").decode() for part in parts
    ]
    name = ".".join(encoded)
    if all(_LABEL.fullmatch(part) for part in encoded):
        return f"write the name as the DNS has it: {name}"
    return "write the name as the DNS has it, with xn--"


_HOST = rf"{SUBDOMAIN}|[0-9a-f:.]*:[0-9a-f:.]*"
Host = Annotated[str, AfterValidator(host), text_schema(_HOST)]
GuardedHost = Annotated[str, AfterValidator(guarded_host), text_schema(rf"\*|{_HOST}")]
IpAddress = Annotated[str, AfterValidator(ip_address), text_schema(r"[0-9a-f:.]+")]
