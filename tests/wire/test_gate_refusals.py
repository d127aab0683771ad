"""What the gate tells each of those that it refuses, and what it does where nobody verifies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daypass.rules.reasons import REASON_HEADER, Reason
from support.deadline import eventually
from support.doors import EKF, access_log
from support.gate_differences import assert_passed_as, reason_in
from support.gates import RunningGate, running_gate, service_at
from support.http_services import Handler, serving
from support.messages import check
from support.raw import exchange
from support.tokens import AUDIENCE, USER, Signer

SIGNER = Signer("ours")
token = SIGNER.good


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    folder = tmp_path_factory.mktemp("gate")
    with running_gate(folder, SIGNER.jwks) as running:
        yield running


def long_lived() -> str:
    return SIGNER.sign({"iss": "kubernetes/serviceaccount", "sub": USER})


UNBOUND = {"namespace": "team", "serviceaccount": {"uid": "sa-1"}}
REFUSED: dict[str, tuple[str, int, Reason]] = {
    "another scheme before": (f"Basic x, Bearer {token()}", 401, Reason.UNREADABLE),
    "a long-lived one, and no other": (f"Bearer {long_lived()}", 401, Reason.LONG_LIVED),
    "another audience as well": (
        f"Bearer {token(aud=[AUDIENCE, 'x'])}", 403, Reason.SEVERAL_AUDIENCES
    ),
    "an end beyond what Envoy can compare": (
        f"Bearer {token(exp=2**63)}", 401, Reason.LIVES_TOO_LONG
    ),
    "unbound": (f"Bearer {token(**{'kubernetes.io': UNBOUND})}", 403, Reason.UNBOUND),
    "somebody else's": (f"Bearer {token(sub='system:node:n')}", 403, Reason.SUBJECT),
    "another audience that is no list": (f"Bearer {token(aud='x')}", 403, Reason.AUDIENCE),
}  # fmt: skip
"""One token for each reason: test_gate_differential has all single changes."""


@pytest.mark.parametrize("case", REFUSED)
def test_each_refusal_has_its_own_reason(gate: RunningGate, case: str) -> None:
    value, code, reason = REFUSED[case]
    answer = gate.send([f"Authorization: {value}", "kubeflow-userid: forged"])
    assert (answer.code, answer.json["code"]) == (code, code)
    assert reason_in(answer) is reason
    check(answer.json["message"], reason=reason)
    assert AUDIENCE in answer.json["message"]


def test_the_good_one_passes_by_the_claims_alone(gate: RunningGate) -> None:
    forged = ["kubeflow-userid: forged", "Kubeflow-Groups: forged", "kubeflow_userid: forged"]
    answer = gate.send([f"Authorization: Bearer {token()}", *forged])
    assert_passed_as(answer, USER)
    assert b"forged" not in answer.body


def test_what_some_servers_take_for_the_same_name_arrives_as_another(gate: RunningGate) -> None:
    """The threat model has it: only dashes and underscores are removed."""
    forged = ["kubeflow.userid: forged", "kubeflow--userid: forged", "kubeflow~userid: forged"]
    answer = gate.send([f"Authorization: Bearer {token()}", *forged])
    assert_passed_as(answer, USER)
    names = {name for name, value in answer.json["headers"].items() if value == "forged"}
    assert names == {"kubeflow.userid", "kubeflow--userid", "kubeflow~userid"}


def test_a_clients_reason_header_reaches_no_service_and_comes_back_as_the_gates_own(
    gate: RunningGate,
) -> None:
    forged = [f"{REASON_HEADER}: forged", "Daypass-Reason: forged", "daypass_reason: forged"]
    passed = gate.send([f"Authorization: Bearer {token()}", *forged])
    assert passed.code == 200
    assert "forged" not in passed.body.decode()
    assert REASON_HEADER not in passed.headers
    for sent, reason in ((token(exp=1), Reason.EXPIRED), (long_lived(), Reason.LONG_LIVED)):
        refused = gate.send([f"Authorization: Bearer {sent}", *forged])
        assert (refused.code, refused.headers[REASON_HEADER]) == (401, reason)


class ClaimsAReason(Handler):
    """A service that answers as if it were the gate."""

    def do_GET(self) -> None:
        self.answer(401, **{REASON_HEADER: Reason.DENIED})


def test_a_service_cannot_claim_a_reason_of_the_gate(tmp_path: Path) -> None:
    with (
        serving(ClaimsAReason) as port,
        running_gate(
            tmp_path,
            SIGNER.jwks,
            protected=service_at(port),
        ) as gate,
    ):
        answer = gate.send([f"Authorization: Bearer {token()}"])
    assert answer.code == 401
    assert REASON_HEADER not in answer.headers


FORGED = ["kubeflow-userid: forged", "kubeflow-groups: forged"]
NOT_JUDGED = (
    ["GET / HTTP/1.0", f"Host: {EKF}"],
    ["GET / HTTP/1.1"],
    ["GET / HTTP/1.1", f"Host: {EKF}"],
    ["GET / HTTP/1.1", "Host: other.example.com"],
)


def test_the_log_names_who_passed_by_the_claims_and_nobody_else(gate: RunningGate) -> None:
    for lines in NOT_JUDGED:
        request = "\r\n".join([*lines, *FORGED, "Connection: close", "", ""]).encode()
        with gate.connect() as connection:
            assert exchange(connection, request).code >= 400
    # The log is written in the order of the answers: where the last is, all are.
    name = {"sub": "system:serviceaccount:team:logged", "jti": 'j-"quoted"'}
    assert gate.send([f"Authorization: Bearer {token(**name)}", *FORGED]).code == 200

    def last_ones() -> list[dict[str, Any]] | None:
        lines = access_log(gate.folder)[-5:]
        return lines if lines and lines[-1]["user"] == name["sub"] else None

    logged = eventually("it is logged", last_ones, seconds=60)
    assert "forged" not in (gate.folder / "envoy.log").read_text()
    assert [line["user"] for line in logged] == [None, None, None, None, name["sub"]]
    assert {key: logged[-1][key] for key in ("jti", "reason", "code")} == {
        "jti": name["jti"], "reason": None, "code": 200
    }  # fmt: skip
    assert [line["reason"] for line in logged[2:4]] == [Reason.NO_TOKEN, Reason.NOT_GUARDED]
