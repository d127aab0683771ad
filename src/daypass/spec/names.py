"""Names in a config: Kubernetes objects, audiences, users, header names.

Each function returns the name or raises a fault that says what to write instead.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from daypass.spec.faults import fault
from daypass.spec.wording import shown

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(?:\.{LABEL})*"
HEADER = r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
AUDIENCE = r"[!#-&(-\[\]-_a-~]+"
USER = r"[^\"'`*\\\x00-\x1f\x7f]+"
LABEL_VALUE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
LABEL_NAME = rf"(?:{SUBDOMAIN}/)?{LABEL_VALUE}"
IMAGE = r"[a-z0-9][a-z0-9._:/-]*(?:@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})"
LIMIT_CHARACTERS = 253
"""Of a DNS name, of a Kubernetes name, and enough for the rest."""

_LABEL = re.compile(LABEL)
_SUBDOMAIN = re.compile(SUBDOMAIN)
_HEADER = re.compile(HEADER)
_AUDIENCE = re.compile(AUDIENCE)
_USER = re.compile(USER)
_LABEL_VALUE = re.compile(LABEL_VALUE)
_LABEL_NAME = re.compile(LABEL_NAME)
_IMAGE = re.compile(IMAGE)

# fmt: off
_HEADERS_OF_HTTP = frozenset((
    "authorization", "connection", "content-encoding", "content-length", "content-type", "cookie",
    "expect", "forwarded", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
))
# fmt: on
_FAMILIES = ("impersonate-", "proxy-", "sec-", "x-envoy-")
_GROUPS = ("system:serviceaccounts", "system:authenticated", "system:unauthenticated")


def label(text: str) -> str:
    """An RFC 1123 label: a namespace, the name of a domain."""
    if not _LABEL.fullmatch(text):
        raise fault(
            f"{shown(text)} is no name", "use up to 63 of a-z, 0-9 and -, with no - at either end"
        )
    return text


def subdomain(text: str) -> str:
    """An RFC 1123 subdomain: the name of a Secret or Issuer."""
    if len(text) > LIMIT_CHARACTERS or not _SUBDOMAIN.fullmatch(text):
        raise fault(
            f"{shown(text)} is no name of a Kubernetes object",
            "use a-z, 0-9, - and ., beginning and ending with a letter or digit",
        )
    return text


def gateway(text: str) -> str:
    """A Gateway in its namespace, and maybe one of its listeners."""
    namespace, *names = text.split("/")
    if not _LABEL.fullmatch(namespace) or len(names) not in (1, 2):
        raise fault(f"{shown(text)} names no Gateway", "write NAMESPACE/NAME")
    for name in names:
        subdomain(name)
    return text


def audience(text: str) -> str:
    """What a token is for: visible ASCII without quotes or backslashes."""
    if len(text) > LIMIT_CHARACTERS or not _AUDIENCE.fullmatch(text):
        raise fault(
            f"{shown(text)} is no audience",
            "use 1 to 253 visible ASCII characters without spaces, quotes and backslashes",
        )
    return text


def label_value(text: str) -> str:
    """The value of a label of Kubernetes'."""
    if not _LABEL_VALUE.fullmatch(text):
        raise fault(
            f"{shown(text)} is no value of a label",
            "use up to 63 of letters, digits, -, _ and ., with a letter or digit at both ends",
        )
    return text


def label_name(text: str) -> str:
    """The name of a label of Kubernetes', with or without a prefix."""
    if len(text) > LIMIT_CHARACTERS or not _LABEL_NAME.fullmatch(text):
        raise fault(
            f"{shown(text)} is no name of a label", "such as istio, or app.example.com/name"
        )
    return text


def image(text: str) -> str:
    """A container image, pinned by a tag or a digest."""
    if len(text) > LIMIT_CHARACTERS or not _IMAGE.fullmatch(text):
        raise fault(
            f"{shown(text)} is no image with a version",
            "write it with its tag or digest, such as registry.example.com/daypass:0.1.0",
        )
    return text


def user(text: str) -> str:
    """A user name of Kubernetes'. Groups and wildcards would silently match nobody: refused."""
    if text.startswith(_GROUPS):
        raise fault(
            f"{shown(text)} is a group", "list users, such as system:serviceaccount:NAMESPACE:NAME"
        )
    if "*" in text:
        raise fault(f"{shown(text)} has a wildcard", "list each user by its whole name")
    readable = len(text) <= LIMIT_CHARACTERS and text == text.strip() and text.isprintable()
    if not readable or not _USER.fullmatch(text):
        raise fault(
            f"{shown(text)} is no user name",
            "use up to 253 characters without quotes, backslashes, and spaces at the ends",
        )
    return text


def header(text: str) -> str:
    """The name of a header that the gate may set: lower case, and none that servers act upon."""
    if text != text.lower():
        raise fault(f"{shown(text)} has capital letters", f"write {shown(text.lower())}")
    if "_" in text:
        raise fault(
            f"{shown(text)} has an underscore", "proxies drop such headers, or read them as -"
        )
    if not _HEADER.fullmatch(text):
        raise fault(f"{shown(text)} is no name of a header", "use up to 64 of a-z, 0-9 and -")
    if text in _HEADERS_OF_HTTP or text.startswith(_FAMILIES):
        raise fault(f"the header {shown(text)} has a meaning of its own", "choose another")
    return text


def text_schema(pattern: str, length: int = LIMIT_CHARACTERS) -> WithJsonSchema:
    """How a JSON Schema describes a text that matches a pattern as a whole."""
    return WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": length, "pattern": f"^(?:{pattern})$"}
    )


Label = Annotated[str, AfterValidator(label), text_schema(LABEL, 63)]
Subdomain = Annotated[str, AfterValidator(subdomain), text_schema(SUBDOMAIN)]
GatewayName = Annotated[
    str,
    AfterValidator(gateway),
    text_schema(rf"{LABEL}/{SUBDOMAIN}(?:/{SUBDOMAIN})?", 2 * LIMIT_CHARACTERS + 65),
]
Audience = Annotated[str, AfterValidator(audience), text_schema(AUDIENCE)]
User = Annotated[str, AfterValidator(user), text_schema(USER)]
LabelName = Annotated[str, AfterValidator(label_name), text_schema(LABEL_NAME)]
LabelValue = Annotated[str, AfterValidator(label_value), text_schema(LABEL_VALUE, 63)]
Image = Annotated[str, AfterValidator(image), text_schema(IMAGE)]
Header = Annotated[str, AfterValidator(header), text_schema(HEADER, 64)]
