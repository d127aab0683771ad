"""What an answer without a token means, and what to do about it. One sentence a case.

The texts that are looked for are the API server's own (k8s.io/kubernetes
pkg/registry/core/serviceaccount/storage/token.go, apiserver's responsewriters); parts of them, as
they change. Everything quoted is of an answer `without` the token.
"""

from __future__ import annotations

from daypass._core.hints import command
from daypass._core.status import Status
from daypass._core.text import printable
from daypass._core.timestamps import parse_http_date
from daypass.client.errors import (
    DoorBusyError,
    DoorUnreachableError,
    ExchangeRefusedError,
    NotADoorError,
)
from daypass.client.transport_errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.errors import DaypassError
    from daypass.client.http1 import HttpResponse
    from daypass.client.token_request import TokenRequest

LIMIT_MESSAGE_CHARACTERS = 1024
SKEW_WORTH_SAYING_SECONDS = 300
_RETRIED = (500, 502, 503, 504)
_GATE = (
    "opens only the door: trade it there",
    "the gate takes short-lived tokens",
    "the gate does not guard this host",
)
"""What only the gate says (`daypass.render.envoy.gate`, `daypass.gateway.reasons`)."""
_ASK = "ask whoever handed you the credentials for new ones"


def explain_refusal(response: HttpResponse, order: TokenRequest, now_unix: float) -> Failure:
    """The error for an answer that is neither 200 nor 201, and whether to try again."""
    code, response = response.status, response.without(order.token)
    status = Status.parse(response.body)
    said = printable(status.message, LIMIT_MESSAGE_CHARACTERS) if status else ""
    if any(words in said for words in _GATE):
        return Failure(_gate(code, said, order))
    if code == 429:
        return _busy(response, said, now_unix)
    if code >= 500:
        after = retry_after_seconds(response, now_unix)
        quoted = said or _excerpt(response)
        fact = f"{order.door.url} answers {code}" + (f": {quoted}" if quoted else "")
        hint = "the API server behind the door can't be reached, or fails; try again later"
        error = DoorUnreachableError(fact, hint, retry_after_seconds=after)
        return Failure(error, code in _RETRIED, after)
    if status is None or code < 400:
        return Failure(describe_foreign(response, order))
    fact, hint = _refusal(code, said, order)
    if code == 401 and (skew := clock_note(response, now_unix)):
        hint = f"{hint}\n{skew}"
    return Failure(ExchangeRefusedError(fact, hint, status=status))


def _refusal(code: int, said: str, order: TokenRequest) -> tuple[str, str]:
    if "ValidatingAdmissionPolicy" in said or "admission webhook" in said:
        return (
            f"the cluster's policy refuses this token: {said}",
            "ask for a lifetime and an audience that it allows",
        )
    special = {401: _unauthorized, 403: _forbidden, 404: _not_found, 422: _invalid}.get(code)
    found = special(said, order) if special else None
    return found or (
        f"the TokenRequest was refused ({code}): {said}",
        "if the credentials work elsewhere, something in between changes requests",
    )


def _gate(code: int, said: str, order: TokenRequest) -> NotADoorError:
    return NotADoorError(
        f"{order.door.url} leads to the gate, not to the door ({code}): {said}",
        "the gate is where short-lived tokens are used; the door, where they are made, has a URL\n"
        "of its own that ends in a prefix such as /kubernetes: put it into `door` (DAYPASS_DOOR)",
    )


def _unauthorized(said: str, order: TokenRequest) -> tuple[str, str]:
    who = _who(order)
    if said not in ("Unauthorized", ""):
        return (
            f"the request arrived without its token (401): {said}",
            "a proxy between here and the API server loses or changes the Authorization header",
        )
    if order.identity.secret_name is None:
        return (
            f"the token to trade for one of {who} is refused (401 Unauthorized)",
            "the cluster does not take tokens of its issuer, or not for its audience: are both in\n"
            "the API server's authentication configuration? "
            f"`{command('identity', 'federate', '--help')}`",
        )
    return (
        f"the long-lived token of {who} is refused (401 Unauthorized)",
        f"its ServiceAccount or its Secret {order.identity.secret_name} is gone, or it was"
        f" revoked:\n{_ASK}",
    )


def _forbidden(said: str, order: TokenRequest) -> tuple[str, str] | None:
    if "system:anonymous" in said:
        return (
            "the API server saw no token: it took the request for one of system:anonymous (403)",
            "a proxy between here and the API server lost the Authorization header",
        )
    if "cannot create resource" not in said:
        return None
    name, namespace = order.identity.service_account, order.identity.namespace
    if order.identity.secret_name is None:
        return (
            f"whose token this is may not create tokens for {_who(order)} (403): {said}",
            f"an administrator gives it that right: `{command('identity', 'federate', '--help')}`",
        )
    return (
        f"{_who(order)} may not create tokens for itself (403)",
        "the identity may have been deleted: ask your administrator\n"
        f"(who restores it with `{command('identity', 'create', name, '-n', namespace)}`)",
    )


def _not_found(said: str, order: TokenRequest) -> tuple[str, str]:
    if said.startswith("serviceaccounts ") and said.endswith("not found"):
        return f"the ServiceAccount {_who(order)} does not exist (404)", f"was it deleted? {_ASK}"
    if said.startswith("secrets ") and said.endswith("not found"):
        return (
            f"the Secret {order.identity.secret_name} of {_who(order)} does not exist (404)",
            f"these credentials were revoked or rotated: {_ASK}",
        )
    return (
        f"nothing is published at this path (404): {said}",
        f"is the door's URL right? It is {order.door.url}",
    )


def _invalid(said: str, order: TokenRequest) -> tuple[str, str] | None:
    if "expirationSeconds" not in said:
        return None
    return (
        f"a lifetime of {order.lifetime_seconds} seconds is refused (422): {said}",
        "Kubernetes allows 10 minutes or more: try --lifetime 1h (lifetime_seconds=3600 in Python),"
        " or `lifetimeSeconds` in the credentials file",
    )


def _busy(response: HttpResponse, said: str, now_unix: float) -> Failure:
    after = retry_after_seconds(response, now_unix)
    fact = "the door is asked too often (429)" + (f": {said}" if said else "")
    hint = "try again later" if after is None else f"try again in {after:.0f} seconds"
    return Failure(DoorBusyError(fact, hint, retry_after_seconds=after), True, after)


def describe_foreign(response: HttpResponse, order: TokenRequest) -> DaypassError:
    """The error for an answer that no door gives, whatever its code."""
    code, url, response = response.status, order.door.url, response.without(order.token)
    if 300 <= code < 400:
        place = printable(response.header("location").partition("?")[0])
        return NotADoorError(
            f"{url} is no door: it redirects ({code}) to {place or 'nowhere'}",
            "a login or a plain-http listener may stand in front; no redirect is followed",
        )
    what = _kind_of_body(response)
    hint = "is its URL right, up to and with the prefix?"
    if code in (401, 403) or (code < 300 and what == "an HTML page"):
        hint = f"a login page or a firewall stands in front of it; {hint}"
    if code >= 400 and (quoted := _excerpt(response)):
        what = f"{what}: {quoted}"
    return NotADoorError(f"{url} is no door: it answers {code} with {what}", hint)


def _kind_of_body(response: HttpResponse) -> str:
    if _is_html(response):
        return "an HTML page"
    text = _text(response)
    if not text.strip():
        return "nothing"
    return "JSON of another kind" if text.lstrip()[0] in "{[" else "something else than JSON"


def _is_html(response: HttpResponse) -> bool:
    is_marked = response.header("content-type").startswith("text/html")
    return is_marked or _text(response).lstrip()[:1] == "<"


def _excerpt(response: HttpResponse) -> str:
    return "" if _is_html(response) else printable(_text(response))


def _text(response: HttpResponse) -> str:
    return response.body.decode("utf-8", "replace")


def retry_after_seconds(response: HttpResponse, now_unix: float) -> float | None:
    """Retry-After as seconds from now, in either of its forms (RFC 9110 section 10.2.3)."""
    value = response.header("retry-after")
    if value.isascii() and value.isdigit() and len(value) < 9:
        return float(value)
    moment = parse_http_date(value)
    if moment is None:
        return None
    date = parse_http_date(response.header("date"))
    return max(0.0, moment - (now_unix if date is None else date))


def clock_note(response: HttpResponse, now_unix: float) -> str:
    """A sentence on this machine's clock if the answer's Date shows that it is wrong, or none."""
    date = parse_http_date(response.header("date"))
    if date is None or abs(date - now_unix) <= SKEW_WORTH_SAYING_SECONDS:
        return ""
    direction = "behind" if now_unix < date else "ahead of"
    minutes = abs(date - now_unix) / 60
    return f"this machine's clock is {minutes:.0f} minutes {direction} the door's: set it right"


def _who(order: TokenRequest) -> str:
    return f"{order.identity.namespace}/{order.identity.service_account}"
