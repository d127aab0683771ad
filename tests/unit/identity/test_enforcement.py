"""The policy at API servers with rare answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from daypass._core.errors import DaypassError
from daypass.config.settings import Policy
from daypass.identity.enforcement import wait_until_enforced
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.kube.connection import ConnectionConfig
from daypass.render.policy import policy_objects
from daypass.testing.clock import MovableClock
from support.authority import ANY_AUTHORITY
from support.messages import raises

GROUP = "/apis/admissionregistration.k8s.io/v1"


POLICY = Policy(audiences=("gate",))


Answering = Callable[[httpx2.Request], tuple[int, dict[str, Any]]]


def cluster(answer: Answering) -> Cluster:
    """A cluster with these answers; its sleep moves the clock."""
    clock = MovableClock()
    return Cluster(
        ConnectionConfig(
            server="https://cluster.example",
            namespace="default",
            origin="tests",
            authority=ANY_AUTHORITY,
        ),
        transport=httpx2.MockTransport(
            lambda request: httpx2.Response(answer(request)[0], json=answer(request)[1])
        ),
        clock=clock,
        sleep=clock.move,
    )


def serving(status: dict[str, Any]) -> Answering:
    """An API server that accepts everything, and reports this status of a policy."""

    def answer(request: httpx2.Request) -> tuple[int, dict[str, Any]]:
        if request.url.path == GROUP:
            kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
            plurals = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
            found = zip(plurals, kinds, strict=True)
            resources = [{"name": n, "kind": k, "namespaced": False} for n, k in found]
            return 200, {"resources": resources}
        if request.url.path == "/api/v1/namespaces":
            return 200, {"metadata": {"resourceVersion": "1"}, "items": []}
        document = policy_objects(POLICY)["bindings/" in request.url.path]
        return 200, {"metadata": {"generation": 2}, "spec": document["spec"], "status": status}

    return answer


@pytest.mark.parametrize("status", [{}, {"observedGeneration": 1}], ids=["no status", "old status"])
def test_a_policy_whose_generation_is_not_observed_is_an_error(status: dict[str, Any]) -> None:
    waiting = cluster(serving(status))
    began = waiting.clock.monotonic()
    with raises(NotReadyError, match="waited 20s for the policy"):
        wait_until_enforced(Waiter(waiting, 20), POLICY)
    assert 20 <= waiting.clock.monotonic() - began < 22


def test_an_expression_warning_is_an_error() -> None:
    warning = {"fieldRef": "spec.validations[0].expression", "warning": "undefined field 'x'"}
    status = {"observedGeneration": 2, "typeChecking": {"expressionWarnings": [warning]}}
    with raises(DaypassError, match=r"spec\.validations\[0\]\.expression.*undefined field 'x'"):
        wait_until_enforced(Waiter(cluster(serving(status)), 20), POLICY)
