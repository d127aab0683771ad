"""Which short-lived tokens the API server may issue: the admission policy in CEL and in Python.

`policy_objects` compiles the config's `policy` to a ValidatingAdmissionPolicy and its binding
(https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/).
`broken_rules` implements the same rules in Python, so that `identity create` can name a rule
and tests can compare the API server with it.

Everything is written into the policy itself: a ConfigMap with parameters could be changed by every
user with `edit` in its namespace. Exceptions for a namespace are annotations of the Namespace,
which no user with rights in that namespace alone can change; an unreadable annotation refuses every
token.

The policy applies to administrators, too: with an exception for them, it would say little about
which tokens exist. Users who need other tokens are listed by name in `exempt`.

The API server finds the Secret of `boundObjectRef` by its name. It compares the UID, if there is
one, and neither the type nor whose Secret it is (TokenREST.Create in
k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage/token.go). A policy can't read Secrets,
so `binding` goes by names: federated users bind to anchors of the requested ServiceAccount, and all
others to its token Secrets. Otherwise a federated user whose anchor is gone could bind to a token
Secret whose name it has seen.

Variables are evaluated on first use, so a namespace without annotations costs little. No expression
may fail: a failure refuses the request with a message that does not help.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from daypass._core.clock import DURATION, UNITS_SECONDS, parse_seconds
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, new_object
from daypass._core.kubernetes.syntax import AUDIENCE
from daypass.config.settings import Policy

_LIFETIME = f"^([0-9]{{1,10}}|{DURATION})$"
_AUDIENCES = f"^{AUDIENCE}( {AUDIENCE})*$"
_BINDINGS, _SUCCESSORS = ("required", "optional"), ("forbidden", "allowed")
_OF_AN_IDENTITY = f"({labels.SECRET_INFIX}|{labels.ANCHOR_INFIX}){labels.SECRET_SUFFIX}"
"""How the names end of Secrets that a gate may know: even where binding is optional, no token is
bound to one of another identity, or of the other kind."""
_MOST_AUDIENCES = 100
"""In one request. The API server's time for a list grows with the square of its length: half a
minute for 100,000."""
_EXTENDED_SECONDS, _EXTENSION_SECONDS = 3607, 365 * 86_400
"""A token of exactly so many seconds that is bound to a Pod lives for a year, if it is for the API
server's own audiences alone, which a policy does not know (TokenREST.Create)."""


def _literal(value: Any) -> str:
    """Return a string, or a list or map of strings, in CEL, which has JSON's escapes."""
    return json.dumps(value, ensure_ascii=False)


def _match_conditions(exempt: Iterable[str]) -> list[dict[str, str]]:
    """Return the conditions for a request to be subject to the policy: all users except these."""
    user = "request.userInfo.username"
    groups = "request.userInfo.groups"
    node = (
        f"{user}.startsWith({_literal(labels.NODE)}) && has({groups})"
        f" && {_literal(labels.NODES)} in {groups}"
    )
    conditions = {
        "not-a-node": f"!({node})",
        "not-the-control-plane": f"!({user} in {_literal(labels.CONTROL_PLANE)})",
        "not-in-kube-system": f"!{user}.startsWith({_literal(labels.KUBE_SYSTEM)})",
    }
    if listed := sorted(exempt):
        conditions["not-exempt"] = f"!({user} in {_literal(listed)})"
    return [{"name": name, "expression": expression} for name, expression in conditions.items()]


def _variables(policy: Policy) -> list[dict[str, str]]:
    """Return the variables of the rules: the policy in this namespace, and the request."""
    found = {**_settings(policy), "mistakes": _mistakes(), **_lifetimes(policy), **_request()}
    return [{"name": name, "expression": expression} for name, expression in found.items()]


def _settings(policy: Policy) -> dict[str, str]:
    """Return the config's values, or the overrides of the Namespace."""
    annotations = "namespaceObject.metadata.annotations"
    seconds, audiences = policy.longest_lifetime_seconds, sorted(policy.audiences)
    return {
        "annotations": f"has({annotations}) ? {annotations} : {{}}",
        "lifetimeText": _override(labels.POLICY_LONGEST_LIFETIME, str(seconds)),
        "audiencesText": _override(labels.POLICY_AUDIENCES, " ".join(audiences)),
        "binding": _override(labels.POLICY_BINDING, policy.binding),
        "successors": _override(labels.POLICY_SUCCESSORS, policy.successors),
    }


def _mistakes() -> str:
    """Return an expression for the annotations that are malformed or unknown."""
    text = "variables.lifetimeText"
    sound = {
        labels.POLICY_LONGEST_LIFETIME: f"{text} != '' && {text}.matches({_literal(_LIFETIME)})",
        labels.POLICY_AUDIENCES: f"variables.audiencesText.matches({_literal(_AUDIENCES)})",
        labels.POLICY_BINDING: f"variables.binding in {_literal(_BINDINGS)}",
        labels.POLICY_SUCCESSORS: f"variables.successors in {_literal(_SUCCESSORS)}",
    }
    unknown = (
        f"variables.annotations.filter(key, key.startsWith({_literal(labels.OVERRIDES)})"
        f" && !(key in {_literal(list(sound))}))"
    )
    wrong = [f"({rule} ? [] : [{_literal(annotation)}])" for annotation, rule in sound.items()]
    return " + ".join([unknown, *wrong])


def _lifetimes(policy: Policy) -> dict[str, str]:
    """Return the longest lifetime in seconds, in this namespace and for this requester."""
    text, units = "variables.lifetimeText", _literal(UNITS_SECONDS)
    amount = f"int('0' + {text}.find('[0-9]+' + unit).replace(unit, '')) * {units}[unit]"
    federated = policy.federated.longest_lifetime_seconds
    return {
        "isFederated": f"request.userInfo.username.startsWith({_literal(labels.FEDERATED_PREFIX)})",
        "namespaceSeconds": (
            f"size(variables.mistakes) > 0 ? 0 : {text}.matches('^[0-9]+$') ? int({text})"
            f" : {_literal(list(UNITS_SECONDS))}.map(unit, {amount}).sum()"
        ),
        "longestSeconds": (
            f"variables.isFederated ? [variables.namespaceSeconds, {federated}].min()"
            " : variables.namespaceSeconds"
        ),
        "lifetimeSeconds": (
            f"object.spec.expirationSeconds == {_EXTENDED_SECONDS}"
            " && has(object.spec.boundObjectRef.kind) && object.spec.boundObjectRef.kind == 'Pod'"
            f" ? {_EXTENSION_SECONDS} : object.spec.expirationSeconds"
        ),
    }


def _request() -> dict[str, str]:
    """Return values of the request that need care: `has(boundObjectRef)` is always true."""
    reference = "object.spec.boundObjectRef"
    bound, prefix = "variables.boundSecret", "variables.secretPrefix"
    return {
        "audiences": "variables.audiencesText.split(' ')",
        "secretPrefix": (
            "request.name + (variables.isFederated"
            f" ? {_literal(labels.ANCHOR_INFIX)} : {_literal(labels.SECRET_INFIX)})"
        ),
        "boundSecret": (
            # The API server takes any version for v1.
            f"has({reference}.kind) && {reference}.kind == 'Secret' && has({reference}.name)"
            f" ? {reference}.name : ''"
        ),
        "isBoundToOwnSecret": (
            f"has({reference}.apiVersion) && {reference}.apiVersion == 'v1'"
            # Three cheap conditions; in a pattern from the name, dots would match everything.
            f" && size({bound}) == size({prefix}) + {labels.SECRET_SUFFIX_LENGTH}"
            f" && {bound}.startsWith({prefix})"
            f" && {bound}.matches({_literal(labels.SECRET_SUFFIX + '$')})"
        ),
        "isSuccessor": (
            # Users with a certificate have a credential-id, too.
            f"request.userInfo.username.startsWith({_literal(labels.SERVICE_ACCOUNT)})"
            " && has(request.userInfo.extra)"
            f" && {_literal(labels.CREDENTIAL_ID)} in request.userInfo.extra"
        ),
    }


def _validations() -> list[dict[str, str]]:
    """Return the rules, each with a message that begins with its name.

    The API server reports the first broken one.
    """
    return [
        _validation(
            "overrides",
            "size(variables.mistakes) == 0",
            "the Namespace has a mistake in an annotation of the policy",
            "'the Namespace ' + namespaceObject.metadata.name + ' has a mistake in its annotation '"
            " + variables.mistakes.join(', ') + ': no token until an admin has mended it'",
        ),
        _validation(
            "lifetime",
            "variables.lifetimeSeconds <= variables.longestSeconds",
            "the lifetime is too long",
            "'ask for at most ' + string(variables.longestSeconds) + ' s, not for '"
            " + string(object.spec.expirationSeconds) + ' s'"
            " + (variables.lifetimeSeconds == object.spec.expirationSeconds ? ''"
            " : ', which may become a year for a Pod')",
        ),
        _validation(
            "audiences",
            f"size(object.spec.audiences) <= {_MOST_AUDIENCES}"
            " && object.spec.audiences.all(audience, audience in variables.audiences)",
            "an audience is not allowed",
            "'ask for a token for ' + variables.audiences.join(' or ') + ' and nothing else'",
        ),
        _validation(
            "binding",
            "variables.isBoundToOwnSecret || (variables.binding != 'required'"
            f" && !variables.boundSecret.matches({_literal(_OF_AN_IDENTITY + '$')}))",
            "the token is not bound to a Secret of the identity",
            "'bind the token (boundObjectRef) to the ' + (variables.isFederated ? 'anchor'"
            " : 'Secret v1 of the long-lived token') + ', called ' + variables.secretPrefix"
            " + '<20 of a-z and 0-9>'",
        ),
        _validation(
            "successors",
            "variables.successors != 'forbidden' || !variables.isSuccessor",
            "a short-lived token asks for another: ask with the long-lived one",
        ),
    ]


def _override(annotation: str, otherwise: str) -> str:
    key = _literal(annotation)
    return f"{key} in variables.annotations ? variables.annotations[{key}] : {_literal(otherwise)}"


def _validation(rule: str, expression: str, message: str, more: str = "") -> dict[str, str]:
    made = {"expression": expression, "message": f"{rule}: {message}", "reason": "Forbidden"}
    return made | ({"messageExpression": f"'{rule}: ' + {more}"} if more else {})


API_VERSION = "admissionregistration.k8s.io/v1"
ACTIONS = {"audit": ["Audit"], "warn": ["Audit", "Warn"], "deny": ["Deny"]}
"""`validationActions` by mode. Denied requests are in the audit log anyway."""


def policy_objects(policy: Policy) -> list[Object]:
    """Return the ValidatingAdmissionPolicy and its binding, in the order in which to apply them.

    The API server's defaults are written out, so that `spec` in a cluster equals `spec` here unless
    it was changed.
    """
    everything = {"namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["serviceaccounts/token"],
        "scope": "*",
    }
    enforced = {"matchLabels": {labels.POLICY: labels.POLICY_ENFORCED}}
    return [
        _object(
            "ValidatingAdmissionPolicy",
            failurePolicy="Fail",
            matchConstraints={**everything, "resourceRules": [rule]},
            matchConditions=_match_conditions(policy.exempt),
            variables=_variables(policy),
            validations=_validations(),
        ),
        _object(
            "ValidatingAdmissionPolicyBinding",
            policyName=labels.POLICY_NAME,
            validationActions=ACTIONS[policy.mode],
            matchResources={**everything, "namespaceSelector": enforced},
        ),
    ]


def _object(kind: str, **spec: Any) -> Object:
    return new_object(API_VERSION, kind, labels.POLICY_NAME, spec=spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """The user of a TokenRequest. `groups`: those that Kubernetes adds may be left out."""

    user: str
    groups: tuple[str, ...] = ()
    has_credential_id: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundObject:
    """`spec.boundObjectRef`, without the UID, which no rule reads."""

    api_version: str = "v1"
    kind: str = "Secret"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequestAttributes:
    """A TokenRequest for `service_account`, with the API server's defaults filled in."""

    requester: Requester
    service_account: str
    lifetime_seconds: int
    audiences: tuple[str, ...]
    bound: BoundObject | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the Namespace."""


def is_exempt(policy: Policy, requester: Requester) -> bool:
    """Return whether the policy does not apply to a requester."""
    user = requester.user
    return (
        (user.startswith(labels.NODE) and labels.NODES in requester.groups)
        or user in labels.CONTROL_PLANE
        or user.startswith(labels.KUBE_SYSTEM)
        or user in policy.exempt
    )


def broken_rules(policy: Policy, request: TokenRequestAttributes) -> list[str]:
    """Return the rules that a request breaks, in the policy's order; none if it is exempt.

    They are `overrides`, `lifetime`, `audiences`, `binding` and `successors`.
    """
    requester = request.requester
    if is_exempt(policy, requester):
        return []
    annotations = request.annotations
    federated = requester.user.startswith(labels.FEDERATED_PREFIX)
    longest = annotations.get(labels.POLICY_LONGEST_LIFETIME, str(policy.longest_lifetime_seconds))
    audiences = annotations.get(labels.POLICY_AUDIENCES, " ".join(policy.audiences)).split(" ")
    broken = {
        "overrides": bool(mistakes(annotations)),
        "lifetime": _lifetime(request) > _seconds(policy, longest, annotations, federated),
        "audiences": len(request.audiences) > _MOST_AUDIENCES
        or not set(request.audiences) <= set(audiences),
        "binding": not _is_bound_to_own_secret(request)
        and (
            annotations.get(labels.POLICY_BINDING, policy.binding) == "required"
            or _is_bound_to_identity(request.bound)
        ),
        "successors": annotations.get(labels.POLICY_SUCCESSORS, policy.successors) == "forbidden"
        and requester.user.startswith(labels.SERVICE_ACCOUNT)
        and requester.has_credential_id,
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def mistakes(annotations: Mapping[str, str]) -> list[str]:
    """Return the malformed annotations of a Namespace; with any, no token is issued."""
    return [
        key
        for key, text in annotations.items()
        if key.startswith(labels.OVERRIDES) and not _is_sound(key, text)
    ]


def _is_sound(key: str, text: str) -> bool:
    match key:
        case labels.POLICY_LONGEST_LIFETIME:
            return text != "" and re.fullmatch(_LIFETIME, text) is not None
        case labels.POLICY_AUDIENCES:
            return re.fullmatch(_AUDIENCES, text) is not None
        case labels.POLICY_BINDING:
            return text in _BINDINGS
        case labels.POLICY_SUCCESSORS:
            return text in _SUCCESSORS
    return False


def _lifetime(request: TokenRequestAttributes) -> int:
    bound, seconds = request.bound, request.lifetime_seconds
    is_extended = bound is not None and (bound.kind, seconds) == ("Pod", _EXTENDED_SECONDS)
    return _EXTENSION_SECONDS if is_extended else seconds


def _seconds(policy: Policy, text: str, annotations: Mapping[str, str], federated: bool) -> int:
    if mistakes(annotations):
        return 0
    seconds = parse_seconds(text)
    return min(seconds, policy.federated.longest_lifetime_seconds) if federated else seconds


def _is_bound_to_own_secret(request: TokenRequestAttributes) -> bool:
    bound = request.bound
    if bound is None or (bound.api_version, bound.kind) != ("v1", "Secret"):
        return False
    prefix = secret_prefix(request.requester.user, request.service_account)
    return re.fullmatch(re.escape(prefix) + labels.SECRET_SUFFIX, bound.name) is not None


def _is_bound_to_identity(bound: BoundObject | None) -> bool:
    if bound is None or bound.kind != "Secret":
        return False
    return re.search(_OF_AN_IDENTITY + r"\Z", bound.name) is not None


def secret_prefix(user: str, service_account: str) -> str:
    """Return how the names begin of the Secrets that a user may bind a token to."""
    is_federated = user.startswith(labels.FEDERATED_PREFIX)
    return service_account + (labels.ANCHOR_INFIX if is_federated else labels.SECRET_INFIX)
