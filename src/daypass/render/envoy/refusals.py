"""How RBAC's refusals become the gate's answers: a policy a reason, a Status a policy."""

from collections.abc import Iterable

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


def refusal_replies(reasons: Iterable[Reason], hint: str) -> list[Json]:
    """What the refused are told, as mappers of local replies; `hint` is a format."""
    return [_reply(reason, hint) for reason in reasons]


def what_the_gate_takes(audience: str) -> str:
    """What a refusal tells to come back with."""
    return (
        f"the gate takes short-lived tokens made for the audience {audience}; "
        "`daypass token` prints one"
    )


def gate_hint(audience: str) -> str:
    """What the gate takes, as a format."""
    return literal(what_the_gate_takes(audience))


def _reply(reason: Reason, hint: str) -> Json:
    code = CODES.get(reason, 401)
    message = literal(MESSAGES[reason])
    told = message if reason is Reason.UNKNOWN else f"{message} ({hint})"
    return policy_reply(policy_of(reason), code, _KINDS[code], told)
