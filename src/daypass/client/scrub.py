"""Taking tokens out of what somebody else wrote, before any of it can reach a message."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.secret import Secret

_BASE64URL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_BEGINNING = "eyJ"
"""`{"` in base64: every JSON Web Token of Kubernetes' begins so."""
_SHORTEST = 16


def scrub(text: str, *secrets: Secret) -> str:
    """The text with stars for the secrets, and for all that looks like (part of) a JSON Web Token.

    Servers and proxies quote the request that they refuse, the Authorization header included.
    """
    for secret in secrets:
        text = text.replace(secret.reveal(), "***")
    kept: list[str] = []
    position = 0
    while (start := text.find(_BEGINNING, position)) >= 0:
        end = start
        while end < len(text) and text[end] in _BASE64URL:
            end += 1
        kept += (text[position:start], "***" if end - start >= _SHORTEST else text[start:end])
        position = end
    return "".join((*kept, text[position:]))
