"""How RBAC's refusals become the gate's answers: a policy a reason, a Status a policy."""

from collections.abc import Iterable

from daypass._core.hints import command
from daypass.render.envoy.matching import action
from daypass.render.envoy.replies import literal, policy_reply
from daypass.render.envoy.typed import Json
from daypass.spec.reasons import CODES, MESSAGES, Reason

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
