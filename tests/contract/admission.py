"""ValidatingAdmissionPolicies for tests: made, waited for, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from contract.calls import token_request
from contract.interface import ApiServer
from support import identities
from support.deadline import eventually

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
LABEL = "daypass-tests/policy"

SENTINEL_SECONDS = 777
"""A lifetime that every policy here refuses: by it is seen that the policy is in force."""

IN_FORCE = "the policy is in force"


@contextmanager
def policy(api_server: ApiServer, *validations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A policy on TokenRequests in a namespace of its own, in force; (namespace, policy's name).

    The namespace has a ServiceAccount `sentinel` besides. The binding is called as the policy.
    """
    name = identities.unique("policy")
    namespace = identities.make_namespace(api_server.admin, labels={LABEL: name})
    identities.ensure_service_account(api_server.admin, namespace, "sentinel")
    try:
        _create(api_server, name, validations)
        eventually(f"{name} is in force", lambda: _refuses_the_sentinel(api_server, namespace))
        yield namespace, name
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            api_server.admin.delete(f"{ADMISSION}/{kind}/{name}")


def denial(service_account: str, name: str, message: str) -> str:
    """The message of what a policy refuses."""
    return (
        f"serviceaccounts \"{service_account}\" is forbidden: ValidatingAdmissionPolicy '{name}' "
        f"with binding '{name}' denied request: {message}"
    )


def _create(api_server: ApiServer, name: str, validations: Sequence[Mapping[str, str]]) -> None:
    sentinel = {
        "expression": f"object.spec.expirationSeconds != {SENTINEL_SECONDS}",
        "message": IN_FORCE,
    }
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["serviceaccounts/token"],
        "operations": ["CREATE"],
    }
    api_server.admin.create(
        f"{ADMISSION}/validatingadmissionpolicies",
        {
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [sentinel, *validations],
            },
        },
    )
    selector = {"matchLabels": {LABEL: name}}
    api_server.admin.create(
        f"{ADMISSION}/validatingadmissionpolicybindings",
        {
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": selector},
            },
        },
    )


def _refuses_the_sentinel(api_server: ApiServer, namespace: str) -> bool:
    answer = api_server.admin.request(
        "POST",
        identities.token_path(namespace, "sentinel"),
        token_request(expirationSeconds=SENTINEL_SECONDS),
    )
    return answer.code == 422 and IN_FORCE in answer.message
