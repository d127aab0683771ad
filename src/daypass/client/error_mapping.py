"""Why an exchange failed: responses without a token, and attempts without a response, as errors.

Each case has one error with a next step. The texts that are matched are the API server's own
(k8s.io/kubernetes pkg/registry/core/serviceaccount/storage/token.go, apiserver's
responsewriters), in parts, since they change. Answers of the gate carry a header `daypass-reason`.
Everything that is quoted comes from a response `without` the token.
"""

from __future__ import annotations

import ssl

from daypass._core.clock import rfc3339, utc
from daypass._core.hints import command
from daypass._core.jwt import unverified_claims
from daypass._core.kubernetes.status import Status, parse_retry_after
from daypass._core.text import printable
from daypass.client.errors import (
    DoorBusyError,
    DoorNotTrustedError,
    DoorUnreachableError,
    ExchangeRefusedError,
    NotADoorError,
)
from daypass.client.http1 import MalformedResponseError, TruncatedResponseError
from daypass.client.transport import CONNECT, PROXY, RESOLVE, ProxyResponseError
from daypass.rules.reasons import REASON_HEADER, Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.errors import DaypassError
    from daypass._core.secret import Secret
    from daypass.client.door import TokenRequest
    from daypass.client.http1 import HttpResponse
    from daypass.client.transport import Route, TransportError

_LIMIT_MESSAGE_CHARACTERS = 1024
_RETRIED = (500, 502, 503, 504)
_ASK = "ask your administrator for new credentials"
UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT and so on (openssl/x509_vfy.h)."""


# -- responses


def explain_refusal(response: HttpResponse, request: TokenRequest) -> DaypassError:
    """Return the error for a response that is neither 200 nor 201."""
    code, response = response.status, response.without(request.token)
    status = Status.parse(response.body)
    message = printable(status.message, _LIMIT_MESSAGE_CHARACTERS) if status else ""
    if response.header(REASON_HEADER) in tuple(Reason):
        return _gate(code, message, request)
    if code == 429:
        return _busy(response, message)
    if code >= 500:
        after = _retry_after_seconds(response)
        quoted = message or _excerpt(response)
        fact = f"{request.door.url} answers {code}" + (f": {quoted}" if quoted else "")
        hint = "the API server behind the door is unreachable or fails; try again later"
        return DoorUnreachableError(
            fact,
            hint,
            reason="server-error",
            retry_after_seconds=after,
            is_retried=code in _RETRIED,
        )
    if status is None or code < 400:
        return not_a_door(response, request)
    reason, fact, hint = _refusal(code, message, request)
    return ExchangeRefusedError(fact, hint, reason=reason, status=status)


def _refusal(code: int, message: str, request: TokenRequest) -> tuple[str, str, str]:
    if "ValidatingAdmissionPolicy" in message or "admission webhook" in message:
        hint, identity = "request a lifetime and an audience that it allows", request.identity
        if identity.is_federated and identity.secret_name is None and "binding: " in message:
            hint = f"these credentials name no Secret to bind it to: {_ask(request)}"
        return "policy", f"the cluster's policy refuses this token: {message}", hint
    special = {401: _unauthorized, 403: _forbidden, 404: _not_found}.get(code)
    found = special(message, request) if special else None
    return found or (
        "refused",
        f"the TokenRequest was refused ({code}): {message}",
        "if the credentials work elsewhere, a proxy on the way changes requests",
    )


def _gate(code: int, message: str, request: TokenRequest) -> NotADoorError:
    return NotADoorError(
        f"{request.door.url} leads to the gate, not to the door ({code}): {message}",
        "the gate accepts short-lived tokens; the door issues them at a URL of its own that ends\n"
        "in a prefix such as /kubernetes: set `door` in the credentials to that URL",
        reason="gate-url",
    )


def _unauthorized(message: str, request: TokenRequest) -> tuple[str, str, str]:
    account = _account(request)
    if message not in ("Unauthorized", ""):
        return _token_lost(401, message)
    if request.identity.is_federated:
        return (
            "federated-token-refused",
            f"the subject token for {account} is refused (401 Unauthorized)",
            "the API server's authentication configuration does not list its issuer, audience or"
            f" subject:\n`{command('identity', 'federate', '--help')}`{_claims(request.token)}",
        )
    return (
        "long-lived-token-refused",
        f"the long-lived token of {account} is refused (401 Unauthorized)",
        f"its ServiceAccount or its Secret {request.identity.secret_name} was deleted, or it was"
        f" revoked:\n{_ASK}",
    )


def _forbidden(message: str, request: TokenRequest) -> tuple[str, str, str] | None:
    if "system:anonymous" in message:
        return _token_lost(403, message)
    if "cannot create resource" not in message:
        return None
    name, namespace = request.identity.service_account, request.identity.namespace
    if request.identity.is_federated:
        return (
            "no-permission",
            f"the subject token's user may not create tokens for {_account(request)} (403):"
            f" {message}",
            "an administrator grants that permission:"
            f" `{command('identity', 'federate', '--help')}`{_claims(request.token)}",
        )
    return (
        "no-permission",
        f"{_account(request)} may not create tokens for itself (403)",
        "the identity may have been deleted: ask your administrator\n"
        f"(who restores it with `{command('identity', 'create', name, '-n', namespace)}`)",
    )


def _token_lost(code: int, message: str) -> tuple[str, str, str]:
    return (
        "token-lost",
        f"the request arrived without its token ({code}): {message}",
        "a proxy on the way to the API server removes or changes the Authorization header",
    )


def _claims(token: Secret) -> str:
    """Return lines with what the trust in a subject token depends on, none of which is secret."""
    claims = unverified_claims(token.reveal())
    names = ("iss", "sub", "aud", "exp")
    return "".join(f"\n{name}: {printable(str(claims.get(name, 'none')))}" for name in names)


def _not_found(message: str, request: TokenRequest) -> tuple[str, str, str]:
    if message.startswith("serviceaccounts ") and message.endswith("not found"):
        return (
            "no-service-account",
            f"the ServiceAccount {_account(request)} does not exist (404)",
            f"was it deleted? {_ask(request)}",
        )
    if message.startswith("secrets ") and message.endswith("not found"):
        return (
            "no-secret",
            f"the Secret {request.identity.secret_name} of {_account(request)} does not exist"
            " (404)",
            f"these credentials were revoked or rotated: {_ask(request)}",
        )
    return (
        "not-found",
        f"nothing is published at this path (404): {message}",
        f"is the door's URL right? It is {request.door.url}",
    )


def _busy(response: HttpResponse, message: str) -> DoorBusyError:
    after = _retry_after_seconds(response)
    fact = "the door receives too many requests (429)" + (f": {message}" if message else "")
    hint = "try again later" if after is None else f"try again in {after:.0f} seconds"
    return DoorBusyError(fact, hint, retry_after_seconds=after, is_retried=True)


def not_a_door(response: HttpResponse, request: TokenRequest) -> DaypassError:
    """Return the error for a response that no door gives, whatever its code."""
    code, url, response = response.status, request.door.url, response.without(request.token)
    if 300 <= code < 400:
        place = printable(response.header("location").partition("?")[0])
        return NotADoorError(
            f"{url} is not a door: it redirects ({code}) to {place or 'nowhere'}",
            "there may be a login or a plain-http listener at this URL; no redirect is followed",
            reason="redirect",
        )
    quoted = _excerpt(response) if code >= 400 else ""
    return NotADoorError(
        f"{url} is not a door: it answers {code}" + (f": {quoted}" if quoted else ""),
        "is the URL right, including the prefix, or does a login or a firewall answer before it?",
    )


def _excerpt(response: HttpResponse) -> str:
    """Return the beginning of a body; nothing of a page for browsers."""
    text = printable(response.body.decode("utf-8", "replace"))
    return "" if text.startswith("<") else text


def _retry_after_seconds(response: HttpResponse) -> float | None:
    """Return Retry-After as seconds, or None."""
    return parse_retry_after(response.header("retry-after"))


def _account(request: TokenRequest) -> str:
    return f"{request.identity.namespace}/{request.identity.service_account}"


def _ask(request: TokenRequest) -> str:
    if not request.identity.is_federated:
        return _ASK
    return f"{_ASK}\n(who makes them with `{command('identity', 'federate', '--help')}`)"


# -- attempts without a response


def explain_transport(
    error: TransportError, request: TokenRequest, now_unix: float
) -> DaypassError:
    """Return the error for an attempt that ended without a response."""
    cause, route, stage = error.__cause__, error.route, error.stage
    server = _first(route) if stage in (RESOLVE, CONNECT, PROXY) else request.door.url
    if isinstance(cause, ProxyResponseError):
        return _proxy_refusal(cause, route)
    if isinstance(cause, MalformedResponseError):
        return NotADoorError(
            f"the response of {server} is invalid: {cause}",
            "is the URL right, host and port?",
            reason="malformed-response",
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _untrusted(cause, request, now_unix)
    if stage == RESOLVE:
        return DoorUnreachableError(
            f"could not resolve {server}",
            "check the name and this machine's DNS; if only a proxy has access, set HTTPS_PROXY",
            reason="unresolved",
        )
    if isinstance(cause, TimeoutError):
        return DoorUnreachableError(
            f"{server} did not answer in time ({stage})",
            "a firewall may drop the packets, or the door is overloaded",
            reason="timeout",
        )
    if isinstance(cause, TruncatedResponseError | ConnectionError | ssl.SSLEOFError):
        return _closed(cause, stage, server)
    if isinstance(cause, ssl.SSLError):
        return _tls(cause, request)
    detail = cause.strerror if isinstance(cause, OSError) else None
    return DoorUnreachableError(
        f"no connection to {server}: {detail or type(cause).__name__}",
        "is this machine online? If only a proxy has access, set HTTPS_PROXY",
        reason="no-connection",
        is_retried=True,
    )


def no_response(error: TransportError) -> str:
    """Return in a few words why any server, not only a door, gave no response."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "there is no answer: it takes too long"
    text = cause.strerror if isinstance(cause, OSError) else None
    stage = " (name)" if error.stage == RESOLVE else ""
    return f"there is no answer: {printable(text or type(cause).__name__)}{stage}"


def _closed(cause: BaseException, stage: str, server: str) -> DaypassError:
    if isinstance(cause, ConnectionRefusedError):
        fact, reason = f"{server} refuses connections", "connection-refused"
        hint = "is it running, and is the port right?"
    else:
        fact, reason = f"{server} closed the connection ({stage})", "connection-closed"
        hint = "is the URL right, and does the port speak TLS? If so, try again"
    return DoorUnreachableError(fact, hint, reason=reason, is_retried=True)


def _proxy_refusal(cause: ProxyResponseError, route: Route) -> DaypassError:
    return DoorUnreachableError(
        f"{_first(route)} refuses a tunnel to {route.target} (it answers {cause.status})",
        "does it require a login (HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT), or not allow this"
        " host?\nNO_PROXY lists hosts to reach without a proxy",
        reason="proxy-refused",
        heals_by_itself=cause.status >= 500,
    )


def _tls(cause: ssl.SSLError, request: TokenRequest) -> DaypassError:
    detail = getattr(cause, "reason", None)  # only OpenSSL's own errors have it
    what = (detail or type(cause).__name__).lower().replace("_", " ")
    return DoorUnreachableError(
        f"TLS with {request.door.url} fails: {what}",
        "is the port right? A door speaks TLS 1.2 or newer, and asks for no client certificate",
        reason="tls-failed",
        heals_by_itself=False,
    )


def _untrusted(
    cause: ssl.SSLCertVerificationError, request: TokenRequest, now_unix: float
) -> DaypassError:
    if cause.verify_code in UNKNOWN_ISSUER:
        hint = (
            "put the door's authority into the credentials (certificateAuthority),"
            " or set SSL_CERT_FILE\nto a bundle with it"
        )
    else:
        hint = (
            "is the host in the door's URL right? If the certificate is, check this machine's"
            f" clock,\nwhich is at {rfc3339(utc(now_unix))}"
        )
    host, fault = request.door.address.host, printable(cause.verify_message)
    return DoorNotTrustedError(f"the certificate of {host} is not trusted: {fault}", hint)


def _first(route: Route) -> str:
    if route.proxy is None:
        return f"the door {route.target}"
    return f"the proxy {route.proxy.address} (HTTPS_PROXY)"
