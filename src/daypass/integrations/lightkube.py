"""lightkube: `authorize(lightkube.Client(config), credentials, audience=...)`."""

from __future__ import annotations

from daypass._core.errors import MissingExtraError
from daypass.client.credentials import Credentials

try:
    from lightkube import AsyncClient, Client

    from daypass.integrations.httpx2 import Auth
except (ModuleNotFoundError, MissingExtraError) as error:  # lightkube before 1.0 has httpx
    raise MissingExtraError("daypass.integrations.lightkube", "lightkube") from error

__all__ = ["authorize"]


def authorize(
    client: Client | AsyncClient,
    credentials: Credentials,
    audience: str | None = None,
    lifetime_seconds: int | None = None,
) -> None:
    """Let a client send a short-lived token with each request, instead of its config's user.

    `audience`: one that the API server accepts, such as its issuer; by default the credentials'.
    Requests raise what `Credentials.token` does. See `daypass.integrations` for what happens after
    a 401.
    """
    # lightkube has no parameter for it, but the client of httpx2 that it wraps has one.
    client._client._client.auth = Auth(credentials, audience, lifetime_seconds)
