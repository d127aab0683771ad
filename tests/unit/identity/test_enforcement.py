"""The policy at API servers with rare answers."""

from __future__ import annotations

from typing import Any

import httpx2

from daypass._core.errors import DaypassError
from daypass.config.settings import Policy
from daypass.identity.enforcement import wait_until_enforced
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.kube.connection import ConnectionConfig
from daypass.render.policy import policy_objects
from daypass.testing import MovableClock
from support.authority import ANY_AUTHORITY
from support.messages import raises

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICY = Policy(audiences=("gate",))


def cluster(status: dict[str, Any]) -> Cluster:
    """A cluster that accepts everything, and reports this status of a policy. Its sleep moves the
    clock.
    """

    def answer(request: httpx2.Request) -> dict[str, Any]:
        if request.url.path == GROUP:
            kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
            plurals = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
            found = zip(plurals, kinds, strict=True)
            return {"resources": [{"name": n, "kind": k, "namespaced": False} for n, k in found]}
        if request.url.path == "/api/v1/namespaces":
            return {"metadata": {"resourceVersion": "1"}, "items": []}
        document = policy_objects(POLICY)["bindings/" in request.url.path]
        return {"metadata": {"generation": 2}, "spec": document["spec"], "status": status}

    clock = MovableClock()
    connection = ConnectionConfig(
        server="https://cluster.example", namespace="default", origin="tests",
        authority=ANY_AUTHORITY,
    )  # fmt: skip
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer(request)))
    return Cluster(connection, transport=transport, clock=clock, sleep=clock.move)


def test_a_policy_whose_generation_is_not_observed_is_an_error() -> None:
    with raises(NotReadyError, match="waited 20s for the policy"):
        wait_until_enforced(Waiter(cluster({"observedGeneration": 1}), 20), POLICY)


def test_an_expression_warning_is_an_error() -> None:
    warning = {"fieldRef": "spec.validations[0].expression", "warning": "undefined field 'x'"}
    status = {"observedGeneration": 2, "typeChecking": {"expressionWarnings": [warning]}}
    with raises(DaypassError, match=r"spec\.validations\[0\]\.expression.*undefined field 'x'"):
        wait_until_enforced(Waiter(cluster(status), 20), POLICY)
