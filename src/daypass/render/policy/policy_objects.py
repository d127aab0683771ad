"""The ValidatingAdmissionPolicy for TokenRequests and its binding, with the rules in CEL.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/. Variables are
evaluated on first use, so a namespace without annotations costs little. No expression may fail: a
failure refuses the request with a message that does not help.
"""

import json
from collections.abc import Iterable
from typing import Any

from daypass._core import labels
from daypass._core.duration import UNITS_SECONDS
from daypass.config.models import Policy
from daypass.render.objects import Object

LIFETIME = r"^([0-9]{1,10}|(([0-9]{1,10})d)?(([0-9]{1,10})h)?(([0-9]{1,10})m)?(([0-9]{1,10})s)?)$"
AUDIENCES = "^[!-~]+( [!-~]+)*$"
BINDINGS, SUCCESSORS = ("required", "optional"), ("forbidden", "allowed")
MOST_AUDIENCES = 100
"""In one request. The API server's time for a list grows with the square of its length: half a
minute for 100,000."""


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
        labels.POLICY_LONGEST_LIFETIME: f"{text} != '' && {text}.matches({_literal(LIFETIME)})",
        labels.POLICY_AUDIENCES: f"variables.audiencesText.matches({_literal(AUDIENCES)})",
        labels.POLICY_BINDING: f"variables.binding in {_literal(BINDINGS)}",
        labels.POLICY_SUCCESSORS: f"variables.successors in {_literal(SUCCESSORS)}",
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
    }


def _request() -> dict[str, str]:
    """Return values of the request that need care: `has(boundObjectRef)` is always true."""
    reference = "object.spec.boundObjectRef"
    return {
        "audiences": "variables.audiencesText.split(' ')",
        "boundSecret": (
            f"has({reference}.kind) && {reference}.kind == 'Secret' && has({reference}.apiVersion)"
            f" && {reference}.apiVersion == 'v1' && has({reference}.name) ? {reference}.name : ''"
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
    prefix = f"request.name + {_literal(labels.SECRET_INFIX)}"
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
            "object.spec.expirationSeconds <= variables.longestSeconds",
            "the lifetime is too long",
            "'ask for at most ' + string(variables.longestSeconds) + ' s, not for '"
            " + string(object.spec.expirationSeconds) + ' s'",
        ),
        _validation(
            "audiences",
            f"size(object.spec.audiences) <= {MOST_AUDIENCES}"
            " && object.spec.audiences.all(audience, audience in variables.audiences)",
            "an audience is not allowed",
            "'ask for a token for ' + variables.audiences.join(' or ') + ' and nothing else'",
        ),
        _validation(
            "binding",
            f"variables.binding != 'required' || variables.isFederated || {_is_own_secret(prefix)}",
            "the token is not bound to the Secret of a long-lived token",
            "'bind the token (boundObjectRef) to the Secret v1 of the long-lived token, called '"
            f" + {prefix} + '<20 of a-z and 0-9>'",
        ),
        _validation(
            "successors",
            "variables.successors != 'forbidden' || !variables.isSuccessor",
            "a short-lived token asks for another: ask with the long-lived one",
        ),
    ]


def _is_own_secret(prefix: str) -> str:
    """Return three cheap conditions; in a pattern from the name, dots would match everything."""
    length = len(labels.SECRET_INFIX) + labels.SECRET_SUFFIX_LENGTH
    return (
        f"size(variables.boundSecret) == size(request.name) + {length}"
        f" && variables.boundSecret.startsWith({prefix})"
        f" && variables.boundSecret.matches({_literal(labels.SECRET_SUFFIX + '$')})"
    )


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
    metadata = {"name": labels.POLICY_NAME, "labels": {labels.MANAGED_BY: labels.MANAGER}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
