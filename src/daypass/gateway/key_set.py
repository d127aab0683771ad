"""A JSON Web Key Set (RFC 7517) of an API server, in the form in which a gate gets it."""

from __future__ import annotations

import json

from daypass._core.errors import DaypassError


class KeySetError(DaypassError):
    """What is given as keys is no JSON Web Key Set."""


def key_set(body: bytes | str) -> str:
    """The public keys of a set, as text, in a stable order. Raises KeySetError."""
    try:
        keys = json.loads(body)["keys"]
        # Symmetric keys have no place in a published set, and would let anybody sign.
        public = [key for key in keys if key["kty"] in ("RSA", "EC")]
        ordered = sorted(public, key=lambda key: json.dumps(key, sort_keys=True))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError("what the API server gives as its signing keys is no key set") from None
    if not ordered:
        raise KeySetError("the API server's key set is empty")
    return json.dumps({"keys": ordered}, sort_keys=True)


def key_ids(keys: str) -> list[str]:
    """The `kid`s of a set that `key_set` gave."""
    return [str(key.get("kid", "")) for key in json.loads(keys)["keys"]]
