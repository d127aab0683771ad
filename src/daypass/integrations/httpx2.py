"""httpx2: `httpx2.Client(auth=Auth(credentials))`, and `httpx2.AsyncClient` likewise."""

from daypass._core.errors import MissingExtraError
from daypass.integrations._httpx_flow import AuthFlow

try:
    import httpx2
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.httpx2", "httpx2") from error

__all__ = ["Auth"]


class Auth(AuthFlow, httpx2.Auth):
    """Puts a short-lived token on each request of a sync or async client: see `AuthFlow`."""
