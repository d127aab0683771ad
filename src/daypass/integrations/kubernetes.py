"""The official client for Kubernetes: `authorize(configuration, credentials, audience=...)`."""

from __future__ import annotations

from daypass._core.errors import MissingExtraError
from daypass.client.credentials import Credentials
from daypass.client.token import AUTHORIZATION, authorization
from daypass.integrations._bearer import Bearer

try:
    from kubernetes.client import Configuration
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.kubernetes", "kubernetes") from error

__all__ = ["authorize"]

_KEY = AUTHORIZATION.lower()


def authorize(
    configuration: Configuration,
    credentials: Credentials,
    audience: str | None = None,
    lifetime_seconds: int | None = None,
) -> None:
    """Let every client of this configuration send a short-lived token with each request.

    `audience`: one that the API server accepts, such as its issuer; by default the credentials'.
    Requests raise what `Credentials.token` does.
    """
    bearer = Bearer(credentials, audience, lifetime_seconds)

    def refresh(configuration: Configuration) -> None:
        configuration.api_key[_KEY] = authorization(bearer.token())

    configuration.api_key[_KEY] = ""  # the hook is called only if the key exists
    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]
