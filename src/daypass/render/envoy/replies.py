"""The door's own answers: every local reply of Envoy becomes a Kubernetes Status in JSON.

How RBAC's refusals become the gate's answers: a policy a reason, a Status a policy.
"""

from collections.abc import Iterable

from daypass._core.hints import command
from daypass._core.reasons import CODES, MESSAGES, Reason
from daypass.config.exposure import Refusal
from daypass.render.envoy.matching import action
from daypass.render.envoy.protobuf_any import Json, extension


def status_replies(refusals: Iterable[Refusal]) -> Json:
    """A LocalReplyConfig that answers each refusal's code with its Status.

    It covers what routes answer directly and what filters and the codec refuse. A code that is not
    among the refusals keeps its number and says no more than that.
    """
    return {
        "mappers": [
            reply(refusal.code, refusal.reason, literal(refusal.message)) for refusal in refusals
        ],
        "body_format": status_format("%RESPONSE_CODE%", "", "the request is refused"),
    }


def reply(code: int, reason: str, message_format: str) -> Json:
    """A mapper that gives every local reply of a code this reason and message.

    `message_format` may hold Envoy's command operators; `literal` takes their meaning away.
    """
    mapper: Json = {
        "filter": code_filter("EQ", code),
        "body_format_override": status_format(code, reason, message_format),
    }
    if headers := _HEADERS.get(code):
        mapper["headers_to_add"] = [
            {
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers.items()
        ]
    return mapper


def policy_reply(policy: str, code: int, reason: str, message_format: str) -> Json:
    """A mapper for what a policy of Envoy's RBAC refuses, which by itself is a 403 of no words."""
    details = f"rbac_access_denied_matched_policy[{policy}]"
    return details_reply(details, code, reason, message_format)


def details_reply(details: str, code: int, reason: str, message_format: str) -> Json:
    """A mapper for one kind of local reply, by Envoy's response code details."""
    refused = extension(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"response.code_details == '{details}'",
    )
    return {
        **reply(code, reason, message_format),
        "filter": {"extension_filter": refused},
        "status_code": code,
    }


def code_filter(comparison: str, code: int) -> Json:
    """An AccessLogFilter upon the answer's code: `comparison` is EQ, NE, LE or GE."""
    value = {"default_value": code, "runtime_key": f"daypass.unused.{code}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def literal(text: str) -> str:
    """Text that Envoy's formatter shows as it is."""
    return text.replace("%", "%%")


_HEADERS = {
    401: {"www-authenticate": "Bearer"},
    405: {"allow": "GET, POST"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}


def status_format(code: int | str, reason: str, message: str) -> Json:
    """A Status as a SubstitutionFormatString; `message` is a format."""
    return {
        "json_format": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        },
    }


_KINDS = {401: "Unauthorized", 403: "Forbidden", 503: "ServiceUnavailable"}


def policy_of(reason: Reason) -> str:
    """The policy's name; on a gateway that others configure as well, it is told from theirs."""
    return f"daypass-{reason}"


def refuse(reason: Reason) -> Json:
    """What a matcher leads to where the reason applies."""
    return action(policy_of(reason), "DENY")


def refusal_replies(reasons: Iterable[Reason], audience: str) -> list[Json]:
    """What the refused are told, as mappers of local replies."""
    return [_reply(reason, audience) for reason in reasons]


def next_step(reason: Reason, audience: str) -> str:
    """What a refusal tells to do. For a revoked token the cache would only give the same again."""
    if reason in (Reason.DENIED, Reason.REVIEW_REFUSED):
        again = command("token", "--audience", audience, "--no-cache")
        return f"ask your administrator for new credentials; for another token of these: `{again}`"
    return (
        f"the gate takes short-lived tokens made for the audience {audience}; "
        f"`{command('token', '--audience', audience)}` prints one"
    )


def gate_hint(audience: str) -> str:
    """What the gate takes, as a format."""
    return literal(next_step(Reason.NO_TOKEN, audience))


def _reply(reason: Reason, audience: str) -> Json:
    code = CODES.get(reason, 401)
    message = MESSAGES[reason]
    told = message if reason is Reason.UNKNOWN else f"{message} ({next_step(reason, audience)})"
    return policy_reply(policy_of(reason), code, _KINDS[code], literal(told))
