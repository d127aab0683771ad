"""The policy as the two objects that an admin applies to a cluster."""

from typing import Any

from daypass.render.policy import marks
from daypass.render.policy.expressions import match_conditions, validations, variables
from daypass.spec.policy import Policy

Object = dict[str, Any]

API_VERSION = "admissionregistration.k8s.io/v1"
ACTIONS = {"audit": ["Audit"], "warn": ["Audit", "Warn"], "deny": ["Deny"]}
"""`validationActions` by mode. What is denied stands in the audit log anyway."""


def policy_objects(policy: Policy) -> list[Object]:
    """ValidatingAdmissionPolicy and its binding, in the order in which they are to be applied.

    What the API server would fill in is written out, so that `spec` in a cluster is `spec` here
    unless somebody has changed it.
    """
    everything = {"namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["serviceaccounts/token"],
        "scope": "*",
    }
    held = {"matchLabels": {marks.LABEL: marks.ENFORCED}}
    return [
        _object(
            "ValidatingAdmissionPolicy",
            failurePolicy="Fail",
            matchConstraints={**everything, "resourceRules": [rule]},
            matchConditions=match_conditions(policy.exempt),
            variables=variables(policy),
            validations=validations(),
        ),
        _object(
            "ValidatingAdmissionPolicyBinding",
            policyName=marks.NAME,
            validationActions=ACTIONS[policy.mode],
            matchResources={**everything, "namespaceSelector": held},
        ),
    ]


def _object(kind: str, **spec: Any) -> Object:
    labels = {"app.kubernetes.io/managed-by": "daypass"}
    metadata = {"name": marks.NAME, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
