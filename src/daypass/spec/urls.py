"""URLs in a config: servers, and the issuer of tokens.

Each function returns the value or raises a fault that says what to write instead.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

from daypass.spec.faults import fault
from daypass.spec.hosts import host
from daypass.spec.names import text_schema
from daypass.spec.wording import shown

LIMIT_CHARACTERS = 1024
_AUTHORITY = r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\\\s]+)(?::([1-9][0-9]{0,4}))?"
_ORIGIN = re.compile(rf"(https?)://{_AUTHORITY}")
_UPSTREAM = re.compile(rf"(https?|h2c)://{_AUTHORITY}")
_ISSUER = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#]+[^\s?#]*|[^\s:]+", re.ASCII)


def split_origin(origin: str) -> tuple[str, int]:
    """Host (no brackets) and port of an origin that was checked; 443 or 80 where it names none."""
    match = _UPSTREAM.fullmatch(origin)
    assert match is not None, origin  # noqa: S101 - every origin in a config has been checked
    scheme, name, port = match.groups()
    return name.strip("[]"), int(port) if port else 443 if scheme == "https" else 80


def origin(text: str, *, usual: str = "http", known: re.Pattern[str] = _ORIGIN) -> str:
    """A URL that is a scheme (http or https), a host and maybe a port, and nothing else.

    `usual`: the scheme that is suggested where there is none.
    """
    match = known.fullmatch(text)
    if match is None:
        # A password must not be seen in a message.
        value = "the URL" if "@" in text else shown(text)
        raise fault(f"{value} {_origin_mistake(text, known)}", _origin_hint(text, usual))
    host(match[2].strip("[]"))
    if match[3] and int(match[3]) > 65535:
        raise fault(f"{shown(text)} has a port above 65535")
    return text


def https_origin(text: str) -> str:
    """An `origin` with https."""
    if text.startswith("http://") and _ORIGIN.fullmatch(text):
        raise fault(f"{shown(text)} is plain http", f"write {shown('https' + text[4:])}")
    return origin(text, usual="https")


def upstream_origin(text: str) -> str:
    """An `origin`, or one with h2c: HTTP/2 without TLS, as gRPC servers speak it."""
    return origin(text, known=_UPSTREAM)


def _origin_mistake(text: str, known: re.Pattern[str]) -> str:
    rest = text.partition("://")[2]
    authority, slash, _ = rest.partition("/")
    reasons = [
        (not rest, "is no URL"),
        (
            known.match(f"{text.partition('://')[0]}://host") is None,
            "has a scheme that is not known here",
        ),
        ("@" in authority, "has a user name or a password in it"),
        ("?" in rest or "#" in rest, "has a query or a fragment"),
        (bool(slash), "has a path"),
    ]
    return next((reason for wrong, reason in reasons if wrong), "is no URL of a server")


def _origin_hint(text: str, usual: str) -> str:
    match = re.match(rf"(?:(?:https?|h2c|grpcs?)://)?(?:[^/@]*@)?({_AUTHORITY})(?=[/?#]|$)", text)
    secure = usual == "https" or text.startswith(("https://", "grpcs://"))
    scheme = "https" if secure else "h2c" if text.startswith(("h2c://", "grpc://")) else "http"
    if match is None:
        return f"write {scheme}://HOST or {scheme}://HOST:PORT"
    return f"write {shown(f'{scheme}://{match[1]}')}"


def issuer(text: str) -> str:
    """The `iss` of tokens, letter by letter as the API server's --service-account-issuer has it.

    A URL, or a string without a colon (k8s.io/kubernetes/pkg/kubeapiserver/options).
    """
    if len(text) > LIMIT_CHARACTERS or not text.isprintable() or not _ISSUER.fullmatch(text):
        raise fault(
            f"{shown(text)} is no issuer", "write what the claim `iss` of a short-lived token says"
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
