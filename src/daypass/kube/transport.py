"""Connections that fail, in words."""

from __future__ import annotations

import ssl

import httpx2

from daypass._core.scrub import scrub
from daypass._core.secret import Secret
from daypass._core.status import printable
from daypass.kube.errors import BrokenAnswerError, ClusterUnreachableError


def is_stale(error: httpx2.TransportError, method: str) -> bool:
    """Whether a kept connection was closed meanwhile, and the same may simply be sent again."""
    return method != "POST" and isinstance(
        error, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
    )


def explain_transport(
    error: httpx2.TransportError, server: str, *secrets: Secret
) -> ClusterUnreachableError:
    """The error for a connection that failed; the HTTP library's words may quote what came."""
    cause = _certificate_error(error)
    if cause is not None:
        return ClusterUnreachableError(
            f"the API server {server} is not who it should be: {cause.verify_message}",
            "the kubeconfig's certificate-authority and server name its certificate",
        )
    if isinstance(error, httpx2.ProxyError):
        return ClusterUnreachableError(
            f"the proxy on the way to {server} refused: {_words(error, secrets)}", ""
        )
    is_connected = not isinstance(
        error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
    )
    kind = BrokenAnswerError if is_connected else ClusterUnreachableError
    if isinstance(error, httpx2.TimeoutException):
        return kind(f"the API server {server} does not answer in time", "")
    words = _words(error, secrets)
    return kind(f"the API server {server} cannot be reached: {words}", "is the cluster up?")


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    for _ in range(10):
        if error is None or isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _words(error: Exception, secrets: tuple[Secret, ...]) -> str:
    return printable(scrub(str(error), *secrets)) or type(error).__name__
