"""Envoy's local replies as the Kubernetes Status of door and gate, in JSON.

A LocalReplyConfig has mappers: each selects replies, by code or by Envoy's response code details,
and sets code, headers and body. Nothing from the request gets into a body. The header
`daypass-reason` says why: a Reason of the gate, or a word that is none. It keeps a reason that the
authorizer or a route has set.
"""

from collections.abc import Iterable

from daypass._core.kubernetes.status import failure
from daypass.config.exposure import Refusal
from daypass.render.envoy.xds import Json, action, extension, set_header
from daypass.rules.reasons import CODES, REASON_HEADER, STATUS_REASONS, Reason, refusal_message

_HEADERS = {
    401: {"www-authenticate": "Bearer"},
    405: {"allow": "GET, POST"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}
TOO_LARGE, TOO_MANY, PLAIN_HTTP = "too-large", "too-many-requests", "plain-http"
_OVER_PLAIN_HTTP = (
    "this came to the ingress or gateway over plain http, and a token in it was seen in the clear: "
    "use https, and replace the token"
)


def status_replies(refusals: Iterable[Refusal], first: Iterable[Json] = ()) -> Json:
    """Return a LocalReplyConfig with a Status for the code of each refusal.

    It covers direct responses of routes and refusals of filters and of the codec. Other codes keep
    their number and get a general message. `first`: mappers that take precedence.
    """
    return {
        "mappers": [
            *first,
            *(reply(*_shown(each)) for each in refusals),
            other_reply(),
        ],
        "body_format": status_format("%RESPONSE_CODE%", "", "the request is refused"),
    }


def denied_reply(policy: str, each: Refusal) -> Json:
    """Return a mapper that gives RBAC's denial by a policy the Status of a refusal."""
    return reply_where(has_details(denial(policy)), *_shown(each))


def _shown(each: Refusal) -> tuple[int, str, str, str]:
    return each.code, each.reason, literal(each.message), each.word


def plain_http_reply(header: Json) -> Json:
    """Return a mapper for what the proxy in front received over plain http, by a HeaderMatcher.

    A redirect would hide the mistake: the client would go on to send its token in the clear first.
    """
    filters = [code_filter("EQ", 403), {"header_filter": {"header": header}}]
    return {
        "filter": {"and_filter": {"filters": filters}},
        "body_format_override": status_format(403, "Forbidden", _OVER_PLAIN_HTTP),
        "headers_to_add": [_reason_header(PLAIN_HTTP)],
    }


def other_reply() -> Json:
    """Return a mapper for every other local reply, which keeps its code."""
    return {"filter": code_filter("GE", 400), "headers_to_add": [_reason_header("refused")]}


def reply(code: int, status_reason: str, message_format: str, reason: str) -> Json:
    """Return a mapper that gives every local reply with a code this Status and reason.

    `message_format` may contain Envoy's command operators; `literal` escapes them. `reason` is for
    the header.
    """
    headers = [set_header(key, value) for key, value in _HEADERS.get(code, {}).items()]
    return {
        "filter": code_filter("EQ", code),
        "body_format_override": status_format(code, status_reason, message_format),
        "headers_to_add": [*headers, _reason_header(reason)],
    }


def reply_where(
    condition: str, code: int, status_reason: str, message_format: str, reason: str
) -> Json:
    """Return a mapper for one kind of local reply, by a CEL condition."""
    return {
        **reply(code, status_reason, message_format, reason),
        "filter": cel_filter(condition),
        "status_code": code,
    }


def has_details(details: str) -> str:
    """Return a CEL condition: Envoy's response code details are these."""
    return f"response.code_details == '{details}'"


def _reason_header(reason: str) -> Json:
    return set_header(REASON_HEADER, str(reason), keeps_existing=True)


def cel_filter(expression: str) -> Json:
    """Return an AccessLogFilter by a CEL expression."""
    return {
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel",
            "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            expression=expression,
        )
    }


def code_filter(comparison: str, code: int) -> Json:
    """Return an AccessLogFilter by the response's code: `comparison` is EQ, NE, LE or GE."""
    value = {"default_value": code, "runtime_key": f"daypass.unused.{code}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def literal(text: str) -> str:
    """Return a format that Envoy shows as this text."""
    return text.replace("%", "%%")


def status_format(code: int | str, reason: str, message: str) -> Json:
    """Return a Status as a SubstitutionFormatString; `message` is a format."""
    return {"json_format": failure(code, reason, message)}


def refuse(reason: Reason) -> Json:
    """Return RBAC's denial for a reason."""
    return action(policy_of(reason), "DENY")


def denial(policy: str) -> str:
    """Return Envoy's details of a denial by a policy."""
    return f"rbac_access_denied_matched_policy[{policy}]"


def policy_of(reason: Reason) -> str:
    # A gateway that others configure has policies of theirs, too.
    return f"daypass-{reason}"


def refusal_reply(reason: Reason, audience: str, condition: str) -> Json:
    """Return a mapper that gives local replies the message of a reason, by a CEL condition."""
    code, message = CODES.get(reason, 401), literal(refusal_message(reason, audience))
    return reply_where(condition, code, STATUS_REASONS[code], message, reason)
