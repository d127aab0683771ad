"""gRPC: call credentials for `grpc` and `grpc.aio`, on TLS channels only."""

from __future__ import annotations

from daypass._core.errors import DaypassError, MissingExtraError
from daypass.client.credentials import Credentials
from daypass.client.token import authorization
from daypass.integrations._bearer import AUTHORIZATION, Bearer

try:
    import grpc
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.grpc", "grpc") from error

__all__ = ["call_credentials", "channel_credentials"]


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

    `root_certificates`: PEM of the only authorities that are trusted; None: gRPC's own.
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
        # gRPC calls this on a thread of its own, so an exchange blocks neither gRPC nor a loop.
        try:
            metadata = ((AUTHORIZATION.lower(), authorization(self._bearer.token())),)
        except DaypassError as error:
            callback((), error)
        else:
            callback(metadata, None)
