"""What stands behind door and gate on one machine: an API server, embedded or external."""

from collections.abc import Callable
from typing import Protocol

from daypass._core.secret import Secret
from daypass.local.keys import fetch_issuer, fetch_keys
from daypass.local.upstream import upstream_of
from daypass.render.envoy.settings import Upstream
from daypass.spec import Config


class Behind(Protocol):
    """An API server, as far as door and gate have to know it."""

    def upstream(self, config: Config) -> Upstream:
        """Where it is, and how it is known."""

    def issuer(self, config: Config) -> str:
        """The `iss` of its short-lived tokens; raises KeysError where it cannot be found out."""

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set; raises KeysError."""

    def stop(self) -> None:
        """End what was started for it."""


class External:
    """The API server that the config names. `token`: what its keys are asked for with, or None."""

    def __init__(self, token: Callable[[], Secret | None]) -> None:
        self._token = token

    def upstream(self, config: Config) -> Upstream:
        """Where it is, and how it is known."""
        return upstream_of(config)

    def issuer(self, config: Config) -> str:
        """The config's issuer, or the one that the API server tells."""
        return config.cluster.issuer or fetch_issuer(upstream_of(config), self._token)

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set; raises KeysError."""
        return fetch_keys(upstream_of(config), self._token)

    def stop(self) -> None:
        """Nothing was started."""
