"""Kubeflow Pipelines: `kfp.Client(host=..., credentials=TokenCredentials(credentials))`."""

from __future__ import annotations

from typing import Any

from daypass._core.errors import MissingExtraError
from daypass.client.token import AUTHORIZATION
from daypass.integrations._bearer import Adapter

try:
    from kfp.client.token_credentials_base import TokenCredentialsBase
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.kfp", "kfp") from error

__all__ = ["TokenCredentials"]


class TokenCredentials(Adapter, TokenCredentialsBase):  # type: ignore[misc]
    """Puts a short-lived token on each request of a `kfp.Client`.

    `audience`, `lifetime_seconds`: instead of those of the credentials. Requests raise what
    `Credentials.token` does.
    """

    def refresh_api_key_hook(self, config: Any) -> None:
        """Set the token. kfp calls it before each request, and adds `Bearer` itself."""
        config.api_key[AUTHORIZATION.lower()] = self._bearer.token().value.reveal()
