"""JSON Web Key Sets (RFC 7517): the public keys of an API server, in its response or in a file."""

import json
from pathlib import Path

from daypass._core.errors import DaypassError
from daypass._core.files import UnsafeFileError, read_ordinary
from daypass._core.hints import kubectl
from daypass.rules.claims import ALGORITHMS

LIMIT_BYTES = 64 * 1024
"""An API server has a few keys, each below 1 KiB."""
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")


class KeySetError(DaypassError):
    """The input is not a JSON Web Key Set."""


def key_set(body: bytes | str, what: str = "the API server's response") -> str:
    """Return the public keys of a set as text, in a stable order. Raises KeySetError.

    `what`: the source, for the error.
    """
    hint = "this prints one: " + kubectl("get", "--raw", "/openid/v1/jwks")
    try:
        # A symmetric key in a published set would let any reader sign, and so would a private one.
        keys = [key for key in json.loads(body)["keys"] if key["kty"] in ("RSA", "EC")]
        keys = [key for key in keys if "alg" not in key or key["alg"] in ALGORITHMS]
        public = [{name: _text(key[name]) for name in _PUBLIC if name in key} for key in keys]
        ordered = sorted(public, key=lambda key: json.dumps(key, sort_keys=True))
        text = json.dumps({"keys": ordered}, sort_keys=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError(f"{what} is not a JSON Web Key Set", hint) from None
    if not ordered:
        raise KeySetError(f"{what} has no public key", hint)
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def read_key_set(file: Path) -> str:
    """Return the public keys in a file, as `key_set` does. Raises KeySetError."""
    try:
        return key_set(read_ordinary(str(file), limit_bytes=LIMIT_BYTES), str(file))
    except UnsafeFileError as error:
        raise KeySetError(error.fact, error.hint) from None
    except OSError as error:
        fact = f"{file} cannot be read: {error.strerror}"
        raise KeySetError(fact, "cluster.keys names it") from None


def key_ids(keys: str) -> list[str]:
    """Return the `kid`s of a set that `key_set` returned."""
    return [key.get("kid", "") for key in json.loads(keys)["keys"]]
