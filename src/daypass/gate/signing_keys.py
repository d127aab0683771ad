"""The API server's signing keys: read, compared, and used to verify a token (RFC 7515, RFC 7517).

On one machine and on Istio, Envoy verifies tokens; on Envoy Gateway the authorizer does, with what
is here. Explanations use it, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from daypass._core.clock import Clock
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.threads import Poller
from daypass.config import Config
from daypass.config.key_set import KeySetError, key_ids, key_set, read_key_set
from daypass.kube.cluster import Cluster
from daypass.kube.errors import BrokenResponseError, ForbiddenError, NotFoundError
from daypass.rules.claims import ALGORITHMS
from daypass.rules.decision import RefusedError
from daypass.rules.reasons import Reason

EVERY_SECONDS = 10.0
"""How often keys are read. Kubernetes publishes a key before it signs with it."""
AGAIN_SECONDS = 1.0
"""For so long after a reading, unknown keys do not cause another."""
WAIT_SECONDS = 0.5
"""How long a token waits for that reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """The `iss` of a cluster's short-lived tokens, and the result of `key_set`."""

    issuer: str
    key_set: str


class _UsableKeys:
    """Keys as PyJWT has them. It is imported here: it takes 6 MB, and at most gates Envoy verifies.

    `names`: their `kid`s, and "" for a token that names none. Raises KeySetError.
    """

    def __init__(self, keys: str) -> None:
        from jwt import PyJWKSet, PyJWS
        from jwt.exceptions import PyJWTError

        self._refused = PyJWTError
        self._jws = PyJWS(options={"enforce_minimum_key_length": True})
        public = key_set(keys, "the key set")
        self.names = frozenset(("", *key_ids(public)))
        try:
            self._keys = PyJWKSet.from_json(public)
        except PyJWTError:
            raise KeySetError("the key set has no key of a known kind") from None

    def have_signed(self, token: str, name: str) -> bool:
        """Return whether one of the keys of this name signed the token; "": whether any did."""
        for key in self._keys:
            if name in ("", key.key_id):
                with suppress(self._refused):
                    self._jws.decode_complete(token, key, algorithms=[*ALGORITHMS])
                    return True
        return False


def is_signed(token: str, keys: str) -> bool:
    """Return whether one of the keys signed the token. Raises KeySetError."""
    usable = _usable(keys)
    try:
        return usable.have_signed(token, _key_of(token))
    except MalformedTokenError:
        return False


def _key_of(token: str) -> str:
    """Return the `kid` of a token; "" if it names no key. Raises MalformedTokenError."""
    return str(decode_unverified(token)[0].get("kid", ""))


_usable = lru_cache(maxsize=2)(_UsableKeys)


class UnreadKeyError(Exception):
    """A token names a key that may be among those that are being read: `reading` ends then."""

    def __init__(self, reading: asyncio.Future[None]) -> None:
        super().__init__()
        self.reading = reading


class TokenVerifier:
    """Verifies tokens in an event loop, with the keys that `read` returns, from `start` to `stop`.

    A token that names no known key causes a reading, too, at most once in AGAIN_SECONDS: tokens of
    a new key pass, and forged names do not flood the API server.
    """

    def __init__(self, read: Callable[[], str], clock: Clock) -> None:
        self._clock = clock
        self._keys = Poller(lambda: _usable(read()), EVERY_SECONDS, clock)

    @property
    def are_known(self) -> bool:
        """Whether there are keys, even if they can't be read again."""
        return self._keys.latest is not None

    @property
    def last_error(self) -> str:
        """Why the keys are not known, or can't be read again; "" if neither is so."""
        if self.are_known or self._keys.last_error:
            return self._keys.last_error
        return "the API server's keys have not been read yet"

    def start(self) -> None:
        """Read the keys in the background."""
        self._keys.start()

    def stop(self) -> None:
        """Stop without waiting for a reading."""
        self._keys.stop()

    def is_signed(self, token: str) -> bool:
        """Return whether one of the keys signed the token.

        Raises UnreadKeyError to be called again within WAIT_SECONDS, and RefusedError if it is not
        known then either.
        """
        name = _key_of(token)
        reading = self._keys.fetching  # before `latest`: what has been read since is in there
        keys = self._keys.latest
        if keys is not None and name in keys.names:
            return keys.have_signed(token, name)
        age = self._clock.monotonic() - self._keys.began_at
        if reading is None and age >= AGAIN_SECONDS:
            reading, age = self._keys.refresh(), 0.0
        if reading is not None:
            if age < WAIT_SECONDS:
                raise UnreadKeyError(asyncio.wrap_future(reading))
            raise RefusedError(Reason.UNKNOWN)
        if self._keys.last_error:
            raise RefusedError(Reason.UNKNOWN)
        return False


def keys_for(config: Config, cluster: Cluster) -> str:
    """Return the keys in `cluster.keys`, or else the API server's, as `key_set` does.

    Raises KeySetError, and the errors of `daypass.kube.errors` if the API server can't be reached.
    """
    if config.cluster.keys is not None:
        return read_key_set(config.cluster.keys)
    accept = {"Accept": "application/jwk-set+json"}  # the only type it serves
    path, what = "/openid/v1/jwks", "read the signing keys"
    try:
        return key_set(json.dumps(cluster.request("GET", path, what=what, headers=accept)))
    except (KeySetError, ForbiddenError, NotFoundError) as error:
        hint = f"{error.hint}\nor " if isinstance(error, ForbiddenError) else ""
        hint += "name a file with its JSON Web Key Set: cluster.keys"
        raise KeySetError(f"the gate needs the API server's keys: {error.fact}", hint) from None


def find_issuer(cluster: Cluster) -> str | None:
    """Return the `iss` of the API server's short-lived tokens, or None if it does not name it.

    Raises the errors of `daypass.kube.errors`.
    """
    path = "/.well-known/openid-configuration"
    issuer = cluster.request("GET", path, what="read who issues tokens").get("issuer")
    return issuer if isinstance(issuer, str) and issuer else None


def issuer_for(config: Config, cluster: Cluster) -> str:
    """Return `cluster.issuer`, or else what `find_issuer` finds. Raises BrokenResponseError if that
    is None.
    """
    issuer = config.cluster.issuer or find_issuer(cluster)
    if issuer is None:
        raise BrokenResponseError(
            "the API server does not return its issuer",
            "set cluster.issuer; it is `iss` of any short-lived token",
        )
    return issuer


def signing_keys_for(config: Config, cluster: Cluster) -> SigningKeys:
    """Return issuer and keys. Raises as `issuer_for` and `keys_for`."""
    return SigningKeys(issuer=issuer_for(config, cluster), key_set=keys_for(config, cluster))
