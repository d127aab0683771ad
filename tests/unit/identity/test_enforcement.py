"""The policy at API servers with rare answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from daypass._core.errors import DaypassError
from daypass.config.settings import Policy
from daypass.identity.enforcement import ask, wait_until_enforced
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import ApiError
from daypass.render.policy import BoundObject, Requester, TokenRequestAttributes, policy_objects
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


ASKED = TokenRequestAttributes(
    requester=Requester(user="jane"),
    service_account="bot",
    audiences=("gate",),
    lifetime_seconds=600,
    bound=BoundObject(name="bot-daypass-x"),
)


def refusing(code: int, message: str) -> Answering:
    status = {"kind": "Status", "code": code, "message": message, "reason": "x"}
    return lambda request: (code, status)


@pytest.mark.parametrize(
    ("code", "message", "verdict"),
    [
        (404, 'secrets "bot-daypass-x" not found', "allowed"),
        (409, "... the UID in the bound object reference (u) does not match the UID in record",
         "allowed"),
        (403, "serviceaccounts \"bot\" is forbidden: ValidatingAdmissionPolicy 'daypass' with"
         " binding 'daypass' denied request: lifetime: too long", "denied"),
        (403, "serviceaccounts \"bot\" is forbidden: ValidatingAdmissionPolicy 'other' with"
         " binding 'daypass' denied request: no", "refused"),
        (400, 'admission webhook "x" denied the request: no', "refused"),
        (403, 'serviceaccounts "bot" is forbidden: User "jane" cannot create resource'
         ' "serviceaccounts/token" in API group "" in the namespace "team"', "forbidden"),
    ],
    ids=["not found", "another UID", "denied", "another policy", "webhook", "RBAC"],
)  # fmt: skip
def test_the_verdict_follows_the_api_servers_answer(code: int, message: str, verdict: str) -> None:
    assert ask(cluster(refusing(code, message)), "team", ASKED).verdict == verdict


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (404, 'serviceaccounts "bot" not found'),
        (404, 'secrets "another" not found'),
        (403, 'users "jane" is forbidden: User "me" cannot impersonate resource "users"'),
        (422, "may not specify a duration less than 10 minutes"),
        (400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (500, "etcd is on fire"),
    ],
    ids=["account", "secret", "impersonation", "lifetime", "binding", "broken"],
)
def test_a_failed_request_gives_no_verdict(code: int, message: str) -> None:
    with raises(ApiError, match="bot in team"):
        ask(cluster(refusing(code, message)), "team", ASKED)


def test_an_unexpected_token_is_an_error_that_does_not_show_it() -> None:
    made = {"status": {"token": "very-secret"}}
    with raises(DaypassError) as caught:
        ask(cluster(lambda request: (201, made)), "team", ASKED)
    assert "very-secret" not in str(caught.value)
