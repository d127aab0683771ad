"""gRPC: call credentials, for `grpc` and `grpc.aio` alike, on channels of TLS only."""

from __future__ import annotations

from daypass._core.errors import DaypassError, MissingExtraError
from daypass.client.credentials import Credentials
from daypass.integrations._bearer import AUTHORIZATION, Bearer, header

try:
    import grpc
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.grpc", "grpc") from error

__all__ = ["call_credentials", "channel_credentials"]


def call_credentials(
    credentials: Credentials, audience: str | None = None, lifetime_seconds: int | None = None
) -> grpc.CallCredentials:
    """A short-lived token on each call.

    `audience`, `lifetime_seconds`: instead of those of the credentials. Where no token is to be
    had, a call ends with UNAVAILABLE, and why as its details.
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
    """TLS, and a short-lived token on each call of the channel.

    `root_certificates`: PEM of the only authorities to trust; None for gRPC's own.
    """
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(root_certificates),
        call_credentials(credentials, audience, lifetime_seconds),
    )


class _Plugin(grpc.AuthMetadataPlugin):
    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        # gRPC calls this on a thread of its own, so an exchange holds up neither it nor a loop.
        try:
            metadata = ((AUTHORIZATION.lower(), header(self._bearer.token())),)
        except DaypassError as error:
            callback((), error)
        else:
            callback(metadata, None)
