"""gRPC: a short-lived token on the calls of a channel of `grpc` or `grpc.aio`, or on one call.

`channel_credentials` and `call_credentials` send it with TLS only. `metadata` cannot check that.
"""

from __future__ import annotations

from daypass._core.errors import DaypassError, MissingExtraError
from daypass.client.credentials import Credentials
from daypass.client.token import AUTHORIZATION, authorization
from daypass.integrations._bearer import Bearer

try:
    import grpc
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.grpc", "grpc") from error

__all__ = ["call_credentials", "channel_credentials", "metadata"]

_KEY = AUTHORIZATION.lower()
"""gRPC refuses metadata in upper case: `Credentials.headers` is none."""


def call_credentials(
    credentials: Credentials, audience: str | None = None, lifetime_seconds: int | None = None
) -> grpc.CallCredentials:
    """Return call credentials that put a short-lived token on each call.

    `audience`, `lifetime_seconds`: instead of those of the credentials. If no token can be
    obtained, a call fails with UNAVAILABLE, and its details are the reason.
    """
    plugin = _Plugin(Bearer(credentials, audience, lifetime_seconds))
    return grpc.metadata_call_credentials(plugin, name="daypass")


def channel_credentials(
    credentials: Credentials,
    audience: str | None = None,
    lifetime_seconds: int | None = None,
    *,
    root_certificates: bytes | None = None,
) -> grpc.ChannelCredentials:
    """Return channel credentials: TLS, and a short-lived token on each call.

    `root_certificates`: the only authorities that are trusted, as PEM; None: gRPC's own, or those
    that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names.
    """
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(root_certificates),
        call_credentials(credentials, audience, lifetime_seconds),
    )


def metadata(
    credentials: Credentials, audience: str | None = None, lifetime_seconds: int | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the metadata of one call, with the token that `Credentials.token` returns.

    For a channel without call credentials: `stub.Method(request, metadata=metadata(credentials))`.
    Call it again for the next call, and only with a TLS channel: gRPC sends it over any. It waits
    for a token and raises as `Credentials.token` does: under asyncio, `await token_async()` first.
    """
    token = Bearer(credentials, audience, lifetime_seconds).token()
    return ((_KEY, authorization(token)),)


class _Plugin(grpc.AuthMetadataPlugin):
    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        # gRPC calls this on a thread of its own, so an exchange blocks neither gRPC nor a loop.
        try:
            metadata = ((_KEY, authorization(self._bearer.token())),)
        except DaypassError as error:
            callback((), error)
        else:
            callback(metadata, None)
