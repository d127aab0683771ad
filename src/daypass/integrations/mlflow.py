"""MLflow: `MLFLOW_TRACKING_AUTH=daypass`, with the credentials that the environment names.

MLflow imports this module in every process, by its entry point. So it imports daypass only where
the variable selects it.
"""

from __future__ import annotations

import warnings
from functools import cache
from urllib.parse import urlsplit

import mlflow
from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
from requests import PreparedRequest
from requests.auth import AuthBase
from requests.sessions import SessionRedirectMixin

__all__ = ["AuthProvider"]


class AuthProvider(RequestAuthProvider):  # type: ignore[misc]
    """Puts a short-lived token on each request to the tracking server and the model registry.

    See `daypass.integrations` for what happens after a 401.
    """

    def get_name(self) -> str:
        """Return the value of MLFLOW_TRACKING_AUTH that selects it."""
        return "daypass"

    def get_auth(self) -> AuthBase:
        """Return the same object for each request of a process.

        Raises what `Credentials.load` does. Requests raise what `Credentials.token` does.
        """
        return _auth()


@cache
def _auth() -> AuthBase:
    from daypass.client.credentials import Credentials
    from daypass.integrations.requests import Auth

    return _ServerAuth(Auth(Credentials.load()))


class _ServerAuth(AuthBase):
    """MLflow calls it for artifacts, too, whatever host their URI names."""

    def __init__(self, auth: AuthBase) -> None:
        self._auth = auth

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        url = request.url or ""
        for server in (mlflow.get_tracking_uri, mlflow.get_registry_uri):
            if _is_same_origin(server(), url):
                return self._auth(request)
        to = urlsplit(url)
        warnings.warn(
            f"daypass sends no token to {to.scheme}://{to.netloc.rpartition('@')[2]}: it is not the"
            " server in MLFLOW_TRACKING_URI. If it should get your token, set that variable to it",
            stacklevel=2,
        )
        return request


def _is_same_origin(server: str, url: str) -> bool:
    return not SessionRedirectMixin().should_strip_auth(server, url)  # type: ignore[no-untyped-call]
