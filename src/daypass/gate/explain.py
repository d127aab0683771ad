"""What the gate would do with a token, for the person who holds it: `daypass gate explain`."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from daypass._core.hints import command
from daypass._core.jwt import unverified_claims
from daypass._core.kubernetes.objects import group_of, name_of
from daypass._core.text import printable
from daypass.gate.authorizer.api_server import ACCESS_PATH, access_review, is_allowed
from daypass.gate.signing_keys import is_signed
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import Resource
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import Decision, GateRequest, Rules, decide
from daypass.rules.models import Access, NamesIn, UnknownModelsError
from daypass.rules.reasons import CODES, MESSAGES, Reason

ISSUER_NOT_CHECKED = (
    "whether its issuer is the cluster (write cluster.issuer, or name the cluster: --kubeconfig)"
)
UNKNOWN = "nothing speaks against it, as far as it was checked"
SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision, and what was not checked. `message`: the result; other than the gate's own, it
    names values of the token.
    """

    decision: Decision
    message: str
    not_checked: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether no check refuses the token."""
        return not self.decision.is_refused

    @property
    def code(self) -> int:
        """The HTTP status code of the gate's response."""
        return 200 if self.passes else CODES.get(self.decision.reason, 401)


class ModelFacts:
    """Which models exist in a cluster, and who may use them, as far as its user may ask. `warn`
    gets why models are unknown. `answers`: what was asked.
    """

    def __init__(self, cluster: Cluster, warn: Callable[[str, str], object]) -> None:
        self.answers: dict[Access, bool | None] = {}
        self.names_in: NamesIn = cache(self._names_in)
        self._cluster = cluster
        self._warn = warn

    @cached_property
    def _kinds(self) -> dict[str, Resource]:
        served = [*self._cluster.kinds().resources.values()][::-1]  # the last one is preferred
        return {f"{kind.plural}.{group_of(kind.api_version)}": kind for kind in served}

    def _names_in(self, resource: str, namespace: str) -> Set[str]:
        try:
            if resource not in self._kinds:
                return frozenset()
            found = self._cluster.list(self._kinds[resource], namespace, metadata_only=True)
        except ForbiddenError as error:
            self._warn(error.fact, error.hint)
            raise UnknownModelsError from None
        return frozenset(map(name_of, found))

    def may(self, caller: CallerIdentity, access: Access) -> bool | None:
        """Return whether a caller has an access; None if the user may not ask."""
        answer = access.exists and self._asked(caller, access)
        self.answers[access] = answer
        return answer

    def _asked(self, caller: CallerIdentity, access: Access) -> bool | None:
        what = f"ask whether {caller.user} may {access.verb} {access.model}"
        body = access_review(caller, access)
        try:
            return is_allowed(self._cluster.request("POST", ACCESS_PATH, body, what=what))
        except ForbiddenError:
            return None


def explain(
    token: str,
    host: str,
    path: str,
    rules: Rules,
    now_unix: float,
    keys: str | None,
    *,
    models: ModelFacts | None = None,
) -> Explanation:
    """Return what the gate would do with a token. `keys`: a JSON Web Key Set, or None.

    An empty `rules.issuer` is unknown: the token's own is taken for it.
    """
    known_rules = replace(rules, issuer=rules.issuer or str(_claim(token, "iss") or ""))
    decision = decide(
        GateRequest(host=host, path=path, authorizations=(f"Bearer {token}",)),
        known_rules,
        now_unix,
        signed=None if keys is None else is_signed(token, keys),
        names_in=None if models is None else models.names_in,
        may=(lambda *_: None) if models is None else models.may,
    )
    not_checked = (*(() if rules.issuer else (ISSUER_NOT_CHECKED,)), *decision.unknown)
    message = MESSAGES[decision.reason] + _values(decision.reason, token, known_rules)
    if decision.reason is Reason.MODEL and models is not None:
        message += _refused_models(models.answers)
    if not decision.is_refused and not_checked:
        message = UNKNOWN
    return Explanation(decision=decision, message=message, not_checked=not_checked)


def _refused_models(answers: dict[Access, bool | None]) -> str:
    refused = sorted(access for access, answer in answers.items() if answer is False)
    if not refused:
        return ": host and path name none"
    if refused[0].exists:
        return f": its caller may not {refused[0].verb} {refused[0].model}"
    return f": none exists that host and path can mean, such as {refused[0].model}"


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
