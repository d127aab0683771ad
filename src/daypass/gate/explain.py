"""What the gate would do with a token, for the person who holds it: `daypass gate explain`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeAlias

from daypass._core.hints import command
from daypass._core.jwt import unverified_claims
from daypass._core.kubernetes.objects import group_of, name_of
from daypass._core.text import printable
from daypass.gate.authorizer.reviews import ACCESS_PATH, access_review, is_allowed
from daypass.gate.signing_keys import is_signed
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.rules.claims import Bound, CallerIdentity, bound_to
from daypass.rules.decision import Decision, GateRequest, Rules, decide
from daypass.rules.models import Access, ModelRule, NamesIn, may_mean_models, needed_accesses
from daypass.rules.reasons import CODES, MESSAGES, Reason

ISSUER_NOT_CHECKED = (
    "whether its issuer is the cluster (write cluster.issuer, or name the cluster: --kubeconfig)"
)
UNKNOWN = "nothing speaks against it, as far as it was checked"
SIGNATURE_NOT_CHECKED = "the signature (no keys were given)"
SHOWN_CHARACTERS = 300
REVOCATION_NOT_CHECKED = "whether its credential exists, and is not denied"
POD_NOT_CHECKED = "whether its Pod exists (the gate asks with a TokenReview)"
MODEL_NOT_CHECKED = "which models host and path mean, and whether its caller may use them"


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


Answers: TypeAlias = Mapping[Access, bool | None]
"""Whether the caller has each access that a request needs; None: the user may not ask."""
FindModels: TypeAlias = Callable[[CallerIdentity], Answers | None]
"""Returns the answers of a cluster; None if the user may not list models."""


def explain(
    token: str,
    host: str,
    path: str,
    rules: Rules,
    now_unix: float,
    keys: str | None,
    *,
    find_models: FindModels | None = None,
) -> Explanation:
    """Return what the gate would do with a token. `keys`: a JSON Web Key Set, or None.

    An empty `rules.issuer` is unknown: the token's own is taken for it. `find_models` is called if
    everything else is good.
    """
    signed = None if keys is None else is_signed(token, keys)
    unknown = [] if rules.issuer else [ISSUER_NOT_CHECKED]
    rules = replace(rules, issuer=rules.issuer or str(_claim(token, "iss") or ""))
    request = GateRequest(host=host, path=path, authorizations=(f"Bearer {token}",))
    unknown += [SIGNATURE_NOT_CHECKED] if signed is None else []
    is_of_pod = _bound_to(token) is Bound.POD
    unknown += [POD_NOT_CHECKED] if is_of_pod and Bound.POD in rules.bound else []
    unknown += [REVOCATION_NOT_CHECKED] if rules.published is None else []
    # Without keys the signature is unknown; the other checks may still refuse the token.
    possible = decide(request, rules, now_unix, signed=signed is not False)
    answers: Answers | None = None
    if possible.identity is not None and may_mean_models(rules.authorize, host, path):
        answers = find_models(possible.identity) if find_models is not None else None
        unknown += _unanswered(answers)
    names_in = may = None
    if answers is not None and not _unanswered(answers):
        names_in, may = _names_in(answers), answers.get
    judged = partial(decide, request, rules, now_unix, names_in=names_in, may=may)
    decision, possible = judged(signed=signed), judged(signed=signed is not False)
    message = MESSAGES[possible.reason] + _values(possible.reason, token, rules)
    if possible.reason is Reason.MODEL and answers is not None:
        message += _refused_models(answers)
    message = UNKNOWN if possible.is_allowed and unknown else message
    return Explanation(
        decision=decision,
        message=message,
        passes=possible.is_allowed,
        not_checked=tuple(unknown),
    )


def find_models(
    cluster: Cluster, rules: Sequence[ModelRule], host: str, path: str, caller: CallerIdentity
) -> Answers:
    """Return whether a caller may use the models that exist and that a request may mean. Raises
    ForbiddenError if they may not be listed.
    """
    served = [*cluster.kinds().resources.values()][::-1]  # a preferred version is the last one
    kinds = {f"{kind.plural}.{group_of(kind.api_version)}": kind for kind in served}

    def names_in(resource: str, namespace: str) -> Set[str]:
        if resource not in kinds:
            return frozenset()
        found = cluster.list(kinds[resource], namespace, metadata_only=True)
        return frozenset(map(name_of, found))

    needed = needed_accesses(rules, host, path, cache(names_in)) or ()
    return {each: each.exists and _may(cluster, caller, each) for each in needed}


def _names_in(answers: Answers) -> NamesIn:
    """Return which models exist, as far as a request may mean them."""

    def names_in(resource: str, namespace: str) -> Set[str]:
        existing = (access.model for access in answers if access.exists)
        return {model.name for model in existing if model[:2] == (resource, namespace)}

    return names_in


def _unanswered(answers: Answers | None) -> list[str]:
    """Return what of the models is not known, if the decision depends on it."""
    if answers is None:
        return [MODEL_NOT_CHECKED]
    if False in answers.values():
        return []
    unasked = sorted(access for access, answer in answers.items() if answer is None)
    return [f"whether its caller may {_shown(access)}" for access in unasked]


def _may(cluster: Cluster, caller: CallerIdentity, access: Access) -> bool | None:
    """Return whether a caller has an access; None if the user may not ask."""
    what = f"ask whether {caller.user} may {_shown(access)}"
    try:
        answer = cluster.request("POST", ACCESS_PATH, access_review(caller, access), what=what)
    except ForbiddenError:
        return None
    return is_allowed(answer)


def _shown(access: Access) -> str:
    return f"{access.verb} {access.model}"


def _refused_models(answers: Answers) -> str:
    refused = sorted(access for access, answer in answers.items() if answer is False)
    if not refused:
        return ": host and path name none"
    if refused[0].exists:
        return f": its caller may not {_shown(refused[0])}"
    return f": none exists that host and path can mean, such as {refused[0].model}"


def _bound_to(token: str) -> Bound | None:
    claim = _claim(token, "kubernetes.io")
    return bound_to(claim) if isinstance(claim, dict) else None


def _claim(token: str, name: str) -> Any:
    return unverified_claims(token).get(name)


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
