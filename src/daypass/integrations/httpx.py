"""httpx: `httpx.Client(auth=Auth(credentials))`, and `httpx.AsyncClient` likewise."""

from daypass._core.errors import MissingExtraError
from daypass.integrations._httpx_flow import AuthFlow

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.httpx", "httpx") from error

__all__ = ["Auth"]


class Auth(AuthFlow, httpx.Auth):
    """Puts a short-lived token on each request of a sync or async client: see `AuthFlow`."""
