"""Decoding of JSON Web Tokens without verification.

Nothing here verifies a signature. A caller that decides by the claims has to: the gate does so in
step 6 of `rules.decision`, or has the API server do it by a TokenReview.
"""

from __future__ import annotations

import binascii
import json

from daypass._core.errors import DaypassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT_CHARACTERS = 16 * 1024
"""Kubernetes's tokens have about 1,000 characters; Envoy accepts headers of 60 KiB."""


class MalformedTokenError(DaypassError):
    """A string that is not a JSON Web Token. The message never shows it."""


def decode_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the unverified header and claims of a JWT in compact form (RFC 7519).

    Raises MalformedTokenError for a token that is longer than LIMIT_CHARACTERS or is not three
    base64url parts, the first two of them JSON objects; the third may be empty. So a decoded token
    has no character that could end a header line.
    """
    if len(token) > LIMIT_CHARACTERS:
        raise MalformedTokenError(f"a token of more than {LIMIT_CHARACTERS} characters is not read")
    parts = token.split(".")
    if len(parts) != 3:
        raise MalformedTokenError(f"a JSON Web Token has three parts, this one has {len(parts)}")
    if parts[2] and not _is_base64url(parts[2]):
        raise MalformedTokenError("the token's signature cannot be decoded")
    return _object(parts[0], "header"), _object(parts[1], "claims")


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the unverified claims of a JWT, none for any other text."""
    try:
        return decode_unverified(token)[1]
    except MalformedTokenError:
        return {}


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
    """Return JSON that all parsers of tokens read alike. Raises ValueError for any other."""
    value = _DECODER.decode(text)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # raises for half a surrogate pair
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_int=_bounded, parse_constant=_refuse
)
