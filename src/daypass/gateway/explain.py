"""The decision for a person who holds a token: what would happen, and what nobody has looked at."""

from __future__ import annotations

from dataclasses import dataclass

from daypass.gateway.decision import Decision, Request, Rules, decide
from daypass.gateway.reasons import CODES, MESSAGES, Reason

NO_KEYS = "whose key has signed it (no keys were given)"
NO_LIST = "whether it was revoked (no cluster was asked)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision, and what it did not know. `passes`: nothing that was looked at is against it."""

    decision: Decision
    passes: bool
    not_looked_at: tuple[str, ...]

    @property
    def code(self) -> int:
        """The HTTP code of the gate's answer."""
        return 200 if self.passes else CODES.get(self.decision.reason, 401)

    @property
    def message(self) -> str:
        """How it ends, in words."""
        reason = Reason.ALLOWED if self.passes else self.decision.reason
        return MESSAGES[reason]


def explain(token: str, host: str, rules: Rules, now_unix: float, keys: str | None) -> Explanation:
    """What the gate would do with a token. `keys`: a JSON Web Key Set, or None without one."""
    signed: bool | None = None
    if keys is not None:
        from daypass.gateway.signature import is_signed

        signed = is_signed(token, keys)
    request = Request(host=host, headers=(("authorization", f"Bearer {token}"),))
    unknown = [NO_KEYS] if signed is None else []
    unknown += [NO_LIST] if rules.denied is None else []
    decision = decide(request, rules, now_unix, signed=signed)
    # Without keys nobody knows whether it is signed; all else may still speak against it.
    passes = decide(request, rules, now_unix, signed=signed is not False).is_allowed
    return Explanation(decision=decision, passes=passes, not_looked_at=tuple(unknown))
