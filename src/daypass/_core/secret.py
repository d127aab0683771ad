"""A string that does not print itself, and the removal of secrets from text that is shown.

Servers and proxies quote the request that they refuse, with its Authorization header, in whole or
in part, plain or encoded: with escapes of JSON and HTML, percent-encoded, and in base64 of either
alphabet, as Kubernetes shows the data of Secrets. Other encodings (hexadecimal, octal, text with
characters in between) are not recognised.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


RUN_CHARACTERS = 16
"""Shorter runs of a secret do not help to guess the rest of it."""
STARS = "***"
_SHORTEST = 6
"""Shorter secrets would match by chance."""
LIMIT_ANSWER_BYTES = 256 * 1024
"""Responses are cut here before they are searched, which bounds the cost."""
_URL_SAFE = str.maketrans("+/", "-_")
_LEVELS = 4
"""How deep encodings may be nested. Text with more levels is not shown at all."""
_JWT = re.compile(r"eyJ[A-Za-z0-9_.-]{13,}")
"""`{"` in base64: every JSON Web Token begins like this."""
_USE_INSTEAD = "pass credentials.bearer, or credentials.headers() as headers; or .reveal() a Secret"
_BACKSLASH = re.compile(r"(?<!\\)\\++(?:u00|x)([0-9A-Fa-f]{2})")


class Secret:
    """A secret string: wrapped where it enters, revealed where it goes onto the wire.

    Nothing but `reveal` shows it. `repr` and `str` are for logs; the text of `str` is no valid
    value of an HTTP header. f-strings, `str.format` and pickling raise TypeError. Two secrets
    compare in constant time.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself. Its uses can be found by this name."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return text_for_logs(self)

    def __format__(self, spec: str) -> NoReturn:
        raise not_a_text(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest

        return compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret cannot be pickled: reveal() it where it goes onto the wire")


def text_for_logs(value: object) -> str:
    """Return the `str` of a Secret or a Token: its `repr`, and a second line that says what to use.

    Logging and `"Bearer %s" % value` both call `__str__`, which cannot tell them apart. So it
    returns a newline: logs may contain it, and HTTP libraries refuse to send it in a header.
    """
    return f"{value!r}\n({_USE_INSTEAD})"


def not_a_text(value: object) -> TypeError:
    """Return the error for a Secret or a Token in an f-string."""
    return TypeError(f"{type(value).__name__} is not text: {_USE_INSTEAD}")


class _Runs:
    """The runs of some secrets, which must not be shown."""

    __slots__ = ("_long", "_short")

    def __init__(self, secrets: tuple[Secret, ...]) -> None:
        plain = [secret.reveal() for secret in secrets]
        values = [*plain, *(form for value in plain for form in _base64(value))]
        self._short = [value for value in values if _SHORTEST <= len(value) < RUN_CHARACTERS]
        self._long = {
            value[at : at + RUN_CHARACTERS]
            for value in values
            for at in range(len(value) - RUN_CHARACTERS + 1)
        }

    def redact(self, text: str) -> str:
        if len(text) < _SHORTEST:
            return text
        shown = text = self._remove(text)
        for _ in range(_LEVELS):
            plain = _decode(text)
            if plain == text:
                return shown
            text = self._remove(plain)
            if text != plain:
                shown = text
        return shown if _decode(text) == text else STARS

    def redact_document(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self.redact_document(each) for each in value]
        if isinstance(value, dict):
            return {self.redact(key): self.redact_document(each) for key, each in value.items()}
        return value

    def _remove(self, text: str) -> str:
        for value in self._short:
            text = text.replace(value, STARS)
        kept: list[str] = []
        start = position = 0
        while self._long and position <= len(text) - RUN_CHARACTERS:
            end = position
            while text[end : end + RUN_CHARACTERS] in self._long:
                end += 1
            if end == position:
                position += 1
                continue
            kept += (text[start:position], STARS)
            start = position = end + RUN_CHARACTERS - 1
        return _JWT.sub(STARS, "".join((*kept, text[start:])))


def redact(text: str, *secrets: Secret) -> str:
    """Return the text with stars in place of each run of 16 or more characters of a secret.

    Short secrets are removed as a whole, and so is everything that looks like a JSON Web Token.
    Encoded text (escapes of JSON and of HTML, percent-encoding) is searched in its decoded form,
    which is what is returned if something was found there. Base64 is recognised of these secrets
    alone, and of no other token. The cost is linear in the length.
    """
    return _Runs(secrets).redact(text)


def redact_response(body: bytes, *secrets: Secret) -> bytes:
    """Return the body of a response without secrets, string by string if it is JSON."""
    body = body[:LIMIT_ANSWER_BYTES]
    runs = _Runs(secrets)

    def number(text: str, kind: Callable[[str], object] = float) -> object:
        return kind(text) if runs.redact(text) == text else STARS

    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(body, parse_int=lambda text: number(text, int), parse_float=number)
        clean = runs.redact_document(document)
        if clean != document:
            text = json.dumps(clean, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass  # It is not JSON, or is nested too deep: it is redacted as text.
    return runs.redact(text).encode("utf-8", "replace")


def _base64(value: str) -> list[str]:
    """Return the base64 of a secret inside a longer text, for each offset at which it may begin."""
    from binascii import b2a_base64

    plain = value.encode("utf-8", "replace")
    forms = []
    for before, first in ((0, 0), (1, 2), (2, 3)):  # bytes, and characters that depend on them
        whole = b2a_base64(bytes(before) + plain, newline=False).decode()
        standard = whole[first : (before + len(plain)) * 8 // 6]
        forms += [standard, standard.translate(_URL_SAFE)]
    return forms


def _decode(text: str) -> str:
    """Return the text with one level of encoding removed."""
    if "\\" in text:
        text = _BACKSLASH.sub(lambda found: chr(int(found[1], 16)), text)
    if "%" in text:
        from urllib.parse import unquote

        text = unquote(text)
    if "&" in text:
        from html import unescape

        text = unescape(text)
    return text
