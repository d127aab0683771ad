"""What the gate would do with a token, for the person who holds it: `daypass gate explain`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from daypass._core.hints import command
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.reasons import CODES, MESSAGES, Reason
from daypass._core.text import printable
from daypass.gate.decision import Decision, GateRequest, Rules, decide
from daypass.gate.revocation.deny_list import denials_in
from daypass.gate.revocation.state_store import StateStore
from daypass.gate.signing_keys import is_signed
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, uid_of
from daypass.render.objects import GATE_DENIED

ISSUER_NOT_CHECKED = (
    "whether its issuer is the cluster (write cluster.issuer, or name the cluster: --kubeconfig)"
)
UNKNOWN = "nothing speaks against it; the signature was not checked"
SIGNATURE_NOT_CHECKED = "the signature (no keys were given)"
SHOWN_CHARACTERS = 300
REVOCATION_NOT_CHECKED = "whether it was revoked (no cluster was named)"


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
    request = GateRequest(host=host, headers=(("authorization", f"Bearer {token}"),))
    unknown += [SIGNATURE_NOT_CHECKED] if signed is None else []
    unknown += [REVOCATION_NOT_CHECKED] if rules.denied is None else []
    decision = decide(request, rules, now_unix, signed=signed)
    # Without keys the signature is unknown; the other checks may still refuse the token.
    passes = decide(request, rules, now_unix, signed=signed is not False).is_allowed
    reason = Reason.ALLOWED if passes else decision.reason
    message = MESSAGES[reason] + _values(reason, token, rules)
    message = UNKNOWN if passes and signed is None else message
    return Explanation(
        decision=decision, message=message, passes=passes, not_checked=tuple(unknown)
    )


def _claim(token: str, name: str) -> Any:
    try:
        return decode_unverified(token)[1].get(name)
    except MalformedTokenError:
        return None


def _values(reason: Reason, token: str, rules: Rules) -> str:
    """Return what the token has and the gate requires, if audience or issuer are wrong."""
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


def watched_namespaces(cluster: Cluster, namespace: str) -> frozenset[str] | None:
    """Return the namespaces that the gate's controller watches; None if it publishes none.

    `namespace`: of its record. Raises RecordError and the errors of `daypass.kube.errors`.
    """
    watched = StateStore(cluster, namespace).read().published.get("followed")
    return None if watched is None else frozenset(map(str, watched))


def denied_in(cluster: Cluster, namespace: str, token: str, now_unix: float) -> frozenset[str]:
    """Return the UIDs in the token whose objects were deleted, and all denials by hand.

    `namespace`: of the ConfigMap of denials. Raises the errors of `daypass.kube.errors`.
    """
    found = cluster.find(CONFIG_MAPS, GATE_DENIED, namespace)
    denials = () if found is None else tuple(denials_in(found))
    denied = {each.name for each in denials if each.until_unix > now_unix}
    bound = _claim(token, "kubernetes.io")
    if not isinstance(bound, dict):
        return frozenset(denied)
    for key, resource in (("secret", SECRETS), ("serviceaccount", SERVICE_ACCOUNTS)):
        reference = bound.get(key)
        if isinstance(reference, dict) and isinstance(uid := reference.get("uid"), str):
            names = str(reference.get("name")), str(bound.get("namespace"))
            there = cluster.find(resource, *names)
            if there is None or uid_of(there) != uid or "deletionTimestamp" in there["metadata"]:
                denied.add(uid)
    return frozenset(denied)
