"""lightkube: `authorize(lightkube.Client(config), credentials, audience=...)`."""

from __future__ import annotations

from daypass._core.errors import MissingExtraError
from daypass.client.credentials import Credentials
from daypass.integrations._httpx_flow import AuthFlow

try:
    import httpx2
    from lightkube import AsyncClient, Client
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.lightkube", "lightkube") from error

__all__ = ["authorize"]


class _Auth(AuthFlow, httpx2.Auth):
    """The auth of a client of httpx2."""


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
    client._client._client.auth = _Auth(credentials, audience, lifetime_seconds)
