"""httpx: `httpx.Client(auth=Auth(credentials))`, and `httpx.AsyncClient` likewise."""

from daypass._core.errors import MissingExtraError
from daypass.integrations._httpx_flow import AuthFlow

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.httpx", "httpx") from error

__all__ = ["Auth"]


class Auth(AuthFlow, httpx.Auth):
    """Puts a short-lived token on each request of a sync or async client.

    `audience`, `lifetime_seconds`: instead of those of the credentials. `placeholder`: a request
    whose Authorization header is exactly `Bearer PLACEHOLDER` gets a token too; any other such
    header stays. Requests raise what `Credentials.token` does. See `daypass.integrations` for what
    happens after a 401.
    """
