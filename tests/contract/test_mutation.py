"""What a MutatingAdmissionPolicy changes of a TokenRequest is checked like what a client sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contract.admission import ADMISSION, LABEL
from contract.calls import needs, request_token
from contract.interface import ApiServer
from support import identities
from support.admin import Document
from support.deadline import eventually

pytestmark = needs("mutating-policies")

# ApplyConfiguration fails: the API server knows no schema of TokenRequest to merge by.
CASES = {
    "the lifetime": ("/spec/expirationSeconds", "601", 201, ""),
    "a lifetime that is too short": (
        "/spec/expirationSeconds", "300", 422, "may not specify a duration less than 10 minutes",
    ),
    "the name": (
        "/metadata/name", "'other'", 422, "must match the service account name if specified",
    ),
}  # fmt: skip


@contextmanager
def mutation(api_server: ApiServer, path: str, value: str) -> Iterator[str]:
    """A namespace whose TokenRequests are changed at a path."""
    name = identities.unique("mutation")
    namespace = identities.make_namespace(api_server.admin, labels={LABEL: name})
    rule = {
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["serviceaccounts/token"],
    }  # fmt: skip
    expression = f"[JSONPatch{{op: 'add', path: '{path}', value: {value}}}]"
    change = {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    policy: Document = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {LABEL: name}}, "resourceRules": [rule],
            },
            "mutations": [change], "reinvocationPolicy": "Never",
        },
    }  # fmt: skip
    binding: Document = {"metadata": {"name": name}, "spec": {"policyName": name}}
    kinds = {"mutatingadmissionpolicies": policy, "mutatingadmissionpolicybindings": binding}
    for kind, document in kinds.items():
        api_server.admin.create(f"{ADMISSION}/{kind}", document)
    try:
        yield namespace
    finally:
        for kind in reversed(kinds):
            api_server.admin.delete(f"{ADMISSION}/{kind}/{name}")


@pytest.mark.parametrize("what", CASES)
def test_a_mutation_applies_before_names_and_spec_are_validated(
    api_server: ApiServer, what: str
) -> None:
    path, value, code, message = CASES[what]
    with mutation(api_server, path, value) as namespace:
        bot = identities.make_identity(api_server.admin, namespace)

        def changed() -> bool:
            answer = request_token(api_server, bot)
            if answer.code == 201 == code:
                return bool(answer.json["spec"]["expirationSeconds"] == 601)
            return answer.code == code and message in answer.message

        eventually(f"{what} is changed", changed)
