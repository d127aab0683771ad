"""What the gate would do with a token, for the person who holds it: `daypass gate explain`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from daypass._core.hints import command
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.text import printable
from daypass.gate.signing_keys import is_signed
from daypass.rules.decision import Decision, GateRequest, Rules, decide
from daypass.rules.reasons import CODES, MESSAGES, Reason

ISSUER_NOT_CHECKED = (
    "whether its issuer is the cluster (write cluster.issuer, or name the cluster: --kubeconfig)"
)
UNKNOWN = "nothing speaks against it, as far as it was checked"
SIGNATURE_NOT_CHECKED = "the signature (no keys were given)"
SHOWN_CHARACTERS = 300
REVOCATION_NOT_CHECKED = "whether its credential exists, and is not denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision, and what was not checked. `passes`: no check refuses the token.

    `message`: the result; other than the gate's own, it names values of the token.
    """

    decision: Decision
    message: str
    passes: bool
    not_checked: tuple[str, ...]

    @property
    def code(self) -> int:
        """The HTTP status code of the gate's response."""
        return 200 if self.passes else CODES.get(self.decision.reason, 401)


def explain(token: str, host: str, rules: Rules, now_unix: float, keys: str | None) -> Explanation:
    """Return what the gate would do with a token. `keys`: a JSON Web Key Set, or None.

    An empty `rules.issuer` is unknown: the token's own is taken for it.
    """
    signed: bool | None = None
    if keys is not None:
        signed = is_signed(token, keys)
    unknown = [] if rules.issuer else [ISSUER_NOT_CHECKED]
    rules = replace(rules, issuer=rules.issuer or str(_claim(token, "iss") or ""))
    request = GateRequest(host=host, authorizations=(f"Bearer {token}",))
    unknown += [SIGNATURE_NOT_CHECKED] if signed is None else []
    unknown += [REVOCATION_NOT_CHECKED] if rules.published is None else []
    decision = decide(request, rules, now_unix, signed=signed)
    # Without keys the signature is unknown; the other checks may still refuse the token.
    passes = decide(request, rules, now_unix, signed=signed is not False).is_allowed
    reason = Reason.ALLOWED if passes else decision.reason
    message = MESSAGES[reason] + _values(reason, token, rules)
    message = UNKNOWN if passes and unknown else message
    return Explanation(
        decision=decision, message=message, passes=passes, not_checked=tuple(unknown)
    )


def _claim(token: str, name: str) -> Any:
    try:
        return decode_unverified(token)[1].get(name)
    except MalformedTokenError:
        return None


def _values(reason: Reason, token: str, rules: Rules) -> str:
    """Return what of the token or of the gate is the reason, if the message does not say it."""
    if reason is Reason.UNKNOWN_CREDENTIAL:
        kind, name, uid = _credential(token)
        return f": it was made with {kind} {printable(name, SHOWN_CHARACTERS)} ({uid})"
    if reason is Reason.UNKNOWN and rules.published is not None:
        return f": nothing valid is published. Does `{command('gate', 'watch')}` run?"
    if reason is Reason.FOREIGN_ISSUER:
        claim, required = "iss", rules.issuer or "that of the cluster"
    elif reason in (Reason.AUDIENCE, Reason.SEVERAL_AUDIENCES):
        line = command("token", "--audience", rules.audience)
        claim, required = "aud", f"{rules.audience} (`{line}` requests one)"
    else:
        return ""
    found = _claim(token, claim)
    values = found if isinstance(found, list) else [found]
    shown = printable(", ".join(map(str, values)), SHOWN_CHARACTERS)
    return f": it has {shown or 'none'}, the gate takes {required}"


def credential_uid(token: str) -> str:
    """Return the UID of what a token was made with, by which a gate knows it; "" if it has none."""
    return _credential(token)[2]


def _credential(token: str) -> tuple[str, str, str]:
    """Return kind, NAMESPACE/NAME and UID of what a token was made with; "" for what it lacks."""
    bound = _claim(token, "kubernetes.io")
    bound = bound if isinstance(bound, dict) else {}
    key, kind = ("secret", "Secret") if "secret" in bound else ("serviceaccount", "ServiceAccount")
    reference = bound.get(key)
    reference = reference if isinstance(reference, dict) else {}
    return kind, f"{bound.get('namespace')}/{reference.get('name')}", str(reference.get("uid", ""))
