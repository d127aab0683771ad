"""What an attempt without an answer means, and whether it is worth another try."""

from __future__ import annotations

import errno
import socket
import ssl

from daypass._core.clock import utc
from daypass._core.text import printable
from daypass.client.errors import DoorNotTrustedError, DoorUnreachableError, NotADoorError
from daypass.client.http1 import MalformedAnswerError, TruncatedAnswerError
from daypass.client.transport import CONNECT, PROXY, RESOLVE, TLS, ProxyAnswerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.errors import DaypassError
    from daypass.client.route import Route
    from daypass.client.token_request import TokenRequest
    from daypass.client.transport import TransportError


_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")
EXPIRED, NOT_YET_VALID, OTHER_NAMES, UNKNOWN_ISSUER = 10, 9, (62, 64), (2, 18, 19, 20, 21)
"""X509_V_ERR_CERT_HAS_EXPIRED and so on (openssl/x509_vfy.h)."""


class Failure:
    """An error, whether to try again within this exchange, and what wait the answer asked for."""

    __slots__ = ("after_seconds", "again", "error")

    def __init__(
        self, error: DaypassError, again: bool = False, after_seconds: float | None = None
    ) -> None:
        self.error = error
        self.again = again
        self.after_seconds = after_seconds


def explain_transport(error: TransportError, order: TokenRequest, now_unix: float) -> Failure:
    """The error for an attempt that ended without an answer."""
    cause, route = error.__cause__, error.route
    if isinstance(cause, ProxyAnswerError):
        return Failure(_proxy_refusal(cause, route))
    if isinstance(cause, MalformedAnswerError):
        return Failure(_malformed(cause, error.stage, order, route))
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Failure(_untrusted(cause, order, route, now_unix))
    if isinstance(cause, socket.gaierror):
        return Failure(_unresolved(route))
    if isinstance(cause, TimeoutError) and error.stage == RESOLVE:
        return Failure(_unresolved(route))
    if isinstance(cause, TimeoutError):
        return Failure(_too_slow(error.stage, order, route))
    if isinstance(cause, TruncatedAnswerError | ConnectionError | ssl.SSLEOFError):
        return Failure(_cut(cause, error.stage, order, route), True)
    if isinstance(cause, ssl.SSLError):
        return Failure(_tls(cause, order))
    return Failure(_no_connection(cause, route), True)


def _unresolved(route: Route) -> DaypassError:
    return DoorUnreachableError(
        f"could not resolve {_first(route)}",
        "check the name, and this machine's DNS; where only a proxy gets out, set HTTPS_PROXY",
    )


def _too_slow(stage: str, order: TokenRequest, route: Route) -> DaypassError:
    if stage in (CONNECT, PROXY):
        return DoorUnreachableError(
            f"no connection to {_first(route)} came about in time",
            "a firewall may drop it; where only a proxy gets out, set HTTPS_PROXY",
        )
    what = "did not finish its TLS handshake" if stage == TLS else "gave no whole answer"
    return DoorUnreachableError(
        f"{order.door.url} {what} in time", "try again; if it stays so, the door is overloaded"
    )


def _cut(cause: BaseException, stage: str, order: TokenRequest, route: Route) -> DaypassError:
    if stage == CONNECT and isinstance(cause, ConnectionRefusedError):
        return DoorUnreachableError(
            f"{_first(route)} refuses connections", "is it running, and is the port right?"
        )
    if stage in (CONNECT, PROXY):
        return DoorUnreachableError(
            f"{_first(route)} closed the connection", "a firewall may have done it; try again"
        )
    if stage == TLS:
        return DoorUnreachableError(
            f"{order.door.url} closed the connection during the TLS handshake",
            "does the port speak TLS, and does the host's name lead to the door?",
        )
    return DoorUnreachableError(
        f"{order.door.url} closed the connection before its answer was whole",
        "try again; if it stays so, look at the door's log",
    )


def _no_connection(cause: BaseException | None, route: Route) -> DaypassError:
    reason = cause.strerror if isinstance(cause, OSError) else None
    hint = "is this machine online? Where only a proxy gets out, set HTTPS_PROXY"
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        hint = "this process has too many open files"
    return DoorUnreachableError(
        f"no connection to {_first(route)}: {reason or type(cause).__name__}", hint
    )


def _proxy_refusal(cause: ProxyAnswerError, route: Route) -> DaypassError:
    fact = f"{_first(route)} makes no tunnel to {route.target} (it answers {cause.status})"
    if cause.status == 407:
        hint = "it wants a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    else:
        hint = "is the door's host allowed there? NO_PROXY names hosts to reach without a proxy"
    return DoorUnreachableError(fact, hint, heals_by_itself=cause.status >= 500)


def _malformed(
    cause: MalformedAnswerError, stage: str, order: TokenRequest, route: Route
) -> DaypassError:
    who = _first(route) if stage == PROXY else order.door.url
    return NotADoorError(
        f"{who} gives an answer that is not read: {cause}", "is the URL right, host and port?"
    )


def _tls(cause: ssl.SSLError, order: TokenRequest) -> DaypassError:
    reason = getattr(cause, "reason", None)  # only OpenSSL's own errors have it
    if reason in _NO_TLS:
        return NotADoorError(
            f"{order.door.url} does not speak TLS", "is the port right? Doors are https"
        )
    what = (reason or type(cause).__name__).lower().replace("_", " ")
    return DoorUnreachableError(
        f"TLS with {order.door.url} fails: {what}",
        "TLS 1.2 or newer without a client's certificate is what a door speaks",
        heals_by_itself=False,
    )


def _untrusted(
    cause: ssl.SSLCertVerificationError, order: TokenRequest, route: Route, now_unix: float
) -> DaypassError:
    host, now = order.door.address.host, f"{utc(now_unix):%Y-%m-%dT%H:%M:%SZ}"
    if cause.verify_code in OTHER_NAMES:
        return DoorNotTrustedError(
            f"the certificate shown for {host} is for another name",
            "is the host in the door's URL right, and does its DNS name lead to the door?",
        )
    if cause.verify_code in (EXPIRED, NOT_YET_VALID):
        what = "has expired" if cause.verify_code == EXPIRED else "is not valid yet"
        return DoorNotTrustedError(
            f"the certificate of {host} {what}",
            f"renew it; or this machine's clock is wrong: it says {now}",
        )
    if cause.verify_code not in UNKNOWN_ISSUER:
        return DoorNotTrustedError(
            f"the certificate of {host} is not believed: {printable(cause.verify_message)}",
            "it, or the authority that signed it, has to be made anew",
        )
    if route.has_own_authority:
        hint = "the certificateAuthority of the credentials did not sign it: is it the door's?"
    else:
        hint = (
            "no authority of this machine's signed it: put the door's into the credentials\n"
            "(certificateAuthority, DAYPASS_CA_FILE), or name a bundle by SSL_CERT_FILE"
        )
    return DoorNotTrustedError(f"the certificate of {host} is signed by nobody trusted", hint)


def _first(route: Route) -> str:
    return str(route.target) if route.proxy is None else f"the proxy {route.proxy.address}"
