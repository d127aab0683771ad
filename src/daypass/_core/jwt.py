"""Reading a JSON Web Token without believing it.

Nothing here verifies a signature. What is read is used to fill in a request to the API server,
which does verify, or to tell a person what they hold.
"""

from __future__ import annotations

import binascii
import json

from daypass._core.errors import DaypassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT_CHARACTERS = 16 * 1024
"""Tokens of Kubernetes are about 1,000 characters long; a header of Envoy's may be 60 KiB."""


class MalformedTokenError(DaypassError):
    """A string that is no JSON Web Token. The message never shows it."""


def decode_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of a JWT in compact form (RFC 7519), neither of them verified.

    Raises MalformedTokenError for whatever is not three base64url parts, the first two of which
    are JSON objects, or is longer than LIMIT_CHARACTERS. So what is decoded holds nothing that
    could end a header line; the third part may be empty.
    """
    if len(token) > LIMIT_CHARACTERS:
        raise MalformedTokenError(f"a token of more than {LIMIT_CHARACTERS} characters is not read")
    parts = token.split(".")
    if len(parts) != 3:
        raise MalformedTokenError(f"a JSON Web Token has three parts, this one has {len(parts)}")
    if parts[2] and not _is_base64url(parts[2]):
        raise MalformedTokenError("the token's signature cannot be decoded")
    return _object(parts[0], "header"), _object(parts[1], "claims")


def _is_base64url(part: str) -> bool:
    return part.isascii() and part.replace("-", "a").replace("_", "a").isalnum()


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        if not _is_base64url(part):
            raise ValueError
        raw = binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "=" * (-len(part) % 4))
        value = _strict_json(raw.decode())
    except (ValueError, RecursionError):
        # `from None`: the JSON error quotes what it could not read.
        raise MalformedTokenError(f"the token's {what} cannot be decoded") from None
    if not isinstance(value, dict):
        raise MalformedTokenError(f"the token's {what} is not a JSON object")
    return value


def _strict_json(text: str) -> Any:
    """JSON that all parsers of tokens read alike. Raises ValueError for any other."""
    value = json.loads(
        text, object_pairs_hook=_named_once, parse_int=_bounded, parse_constant=_refuse
    )
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # raises for half a surrogate pair
    return value


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError
    return value


def _bounded(digits: str) -> int:
    if abs(float(digits)) == float("inf"):
        raise ValueError
    return int(digits)


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity
