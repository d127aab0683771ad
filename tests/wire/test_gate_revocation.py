"""What the gate does with tokens that were revoked, on a real Envoy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daypass._core.reasons import MESSAGES, Reason
from daypass._core.secret import Secret
from daypass.render.envoy.bootstrap import revoked_file, to_json
from daypass.render.envoy.filters import RevocationSnapshot
from support.deadline import eventually
from support.doors import EKF
from support.gates import NOBODY, RunningGate, running_gate
from support.h2c import Http2, Reply
from support.raw import Answer, Caller, Conversation
from support.tokens import AUDIENCE, Signer, good_claims

SIGNER = Signer("ours")
LONG_LIST = frozenset(f"00000000-0000-4000-8000-{number:012}" for number in range(10_000))
KINDS = {
    "secret": RevocationSnapshot(secrets={"secret-1"}),
    "service account": RevocationSnapshot(service_accounts={"sa-1"}),
    "token": RevocationSnapshot(tokens={"j-1"}),
    "namespace": RevocationSnapshot(namespaces={"team"}),
    "all three": RevocationSnapshot(
        secrets={"secret-1"}, service_accounts={"sa-1"}, tokens={"j-1"}
    ),
    "among many": RevocationSnapshot(
        secrets=LONG_LIST | {"secret-1"}, service_accounts=LONG_LIST, tokens=LONG_LIST
    ),
}
OTHERS = {
    "nobody": NOBODY,
    "other names": RevocationSnapshot(
        secrets={"secret-2"}, service_accounts={"sa-2"}, tokens={"j-2"}
    ),
    "names of another kind": RevocationSnapshot(
        secrets={"sa-1", "j-1"}, service_accounts={"secret-1", "j-1"}, tokens={"secret-1", "sa-1"}
    ),
    "parts of names": RevocationSnapshot(
        secrets={"secret-", "secret-11", "SECRET-1"}, tokens={"j", "-"}
    ),
    "many others": RevocationSnapshot(
        secrets=LONG_LIST, service_accounts=LONG_LIST, tokens=LONG_LIST
    ),
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    folder = tmp_path_factory.mktemp("gate")
    with running_gate(folder, SIGNER.jwks, longest_lifetime_seconds=7200) as running:
        yield running


def token(**changes: Any) -> str:
    return SIGNER.sign(good_claims(**changes))


@contextmanager
def calling(gate: RunningGate, *lines: str) -> Iterator[Caller]:
    """A caller with a good token on a connection that stays open."""
    with gate.connect() as connection:
        yield Caller(Conversation(connection), EKF, Secret(token()), *lines)


def assert_revoked(answer: Answer | Reply) -> None:
    assert answer.code == 401, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "location" not in answer.headers
    status = answer.json
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 401, "Unauthorized")
    assert status["message"].startswith(MESSAGES[Reason.DENIED])
    assert AUDIENCE in status["message"]


def test_a_token_that_was_issued_too_long_ago_is_refused(gate: RunningGate) -> None:
    now = int(time.time())  # noqa: TID251
    gate.revoke(RevocationSnapshot(issued_after_unix=now - 7200))
    old = f"Authorization: Bearer {token(iat=now - 7300, nbf=now - 7300)}"
    answer = eventually("a 401", lambda: a if (a := gate.send([old])).code == 401 else None)
    assert answer.json["message"].startswith(MESSAGES[Reason.LIVES_TOO_LONG])
    young = f"Authorization: Bearer {token(iat=now - 7100, nbf=now - 7100)}"
    assert gate.send([young]).code == 200


def test_a_long_lived_token_is_still_refused_with_the_advice_to_exchange_it(
    gate: RunningGate,
) -> None:
    gate.revoke(NOBODY)
    long = SIGNER.sign({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:t:b"})
    answer = eventually(
        "not closed",
        lambda: a if (a := gate.send([f"Authorization: Bearer {long}"])).code == 401 else None,
    )
    assert answer.json["message"].startswith(MESSAGES[Reason.LONG_LIVED])


def test_a_list_has_the_same_bytes_in_whatever_order_it_came() -> None:
    names = [f"u-{number}" for number in range(50)]
    first, second = (
        RevocationSnapshot(secrets=dict.fromkeys(n).keys()) for n in (names, names[::-1])
    )
    assert to_json(revoked_file(first)) == to_json(revoked_file(second))


@pytest.mark.parametrize("kind", KINDS)
def test_a_revoked_token_is_refused_on_a_connection_opened_before(
    gate: RunningGate, kind: str
) -> None:
    gate.revoke(NOBODY)
    with calling(gate) as connection:
        connection.becomes(200)
        gate.revoke(KINDS[kind])
        assert_revoked(connection.becomes(401))
        gate.revoke(NOBODY)
        connection.becomes(200)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_token_that_is_not_revoked_passes(gate: RunningGate, kind: str) -> None:
    sentinel = token(jti="sentinel")
    with calling(gate) as connection:
        gate.revoke(OTHERS[kind])
        marked = OTHERS[kind]
        # Another token on the list says when it is in force.
        gate.revoke(
            RevocationSnapshot(
                secrets=marked.secrets,
                service_accounts=marked.service_accounts,
                tokens={*marked.tokens, "sentinel"},
            )
        )
        line = f"Authorization: Bearer {sentinel}"
        eventually("the list is in force", lambda: gate.send([line]).code == 401)
        assert connection.ask().code == 200


def test_a_revoked_token_is_refused_over_http2_on_an_open_connection(gate: RunningGate) -> None:
    gate.revoke(NOBODY)
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", EKF), (":path", "/"),
              ("authorization", f"Bearer {token()}")]  # fmt: skip
    with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
        eventually("it passes", lambda: client.request(fields).code == 200)
        gate.revoke(KINDS["secret"])
        reply = eventually(
            "a 401", lambda: r if (r := client.request(fields)).code == 401 else None
        )
    assert_revoked(reply)


FORGED = [
    "daypass.secrets: secret-2",
    "daypass.tokens: j-2",
    "x-envoy-filter-state: daypass.secrets=secret-2",
    "x-daypass-secret-uid: secret-2",
]


@pytest.mark.parametrize("line", FORGED)
def test_client_headers_cannot_name_the_secret_of_a_token(gate: RunningGate, line: str) -> None:
    gate.revoke(KINDS["secret"])
    with calling(gate, line) as connection:
        assert_revoked(connection.becomes(401))


def test_nothing_of_the_check_travels_on(gate: RunningGate) -> None:
    gate.revoke(OTHERS["other names"])
    line = f"Authorization: Bearer {token()}"
    seen = eventually("it passes", lambda: gate.passed(gate.send([line])))
    assert not {"secret-1", "sa-1", "j-1"} & {*seen.values()}
    assert set(seen) == {
        "host", "kubeflow-userid", "kubeflow-groups", "x-forwarded-for", "x-forwarded-proto",
        "x-request-id", "x-envoy-external-address",
    }  # fmt: skip


def test_a_token_without_a_jti_or_a_uid_is_on_no_list(gate: RunningGate) -> None:
    gate.revoke(RevocationSnapshot(service_accounts={"-", "sa-1"}, tokens={"-", "null"}))
    bare = {"namespace": "team", "secret": {"uid": "secret-1"}}
    line = f"Authorization: Bearer {token(jti=None)}"
    eventually("the list is in force", lambda: gate.send([line]).code == 401)
    other = token(jti=None, **{"kubernetes.io": bare})
    assert gate.send([f"Authorization: Bearer {other}"]).code == 200


def test_a_closed_gate_refuses_everybody_and_still_knows_the_revoked(gate: RunningGate) -> None:
    gate.revoke(NOBODY)
    with calling(gate) as connection:
        connection.becomes(200)
        gate.revoke(RevocationSnapshot(closed=True))
        answer = connection.becomes(503)
        assert answer.json["message"] == MESSAGES[Reason.UNKNOWN]
        assert answer.headers["retry-after"]
        gate.revoke(RevocationSnapshot(tokens={"j-1"}, closed=True))
        assert_revoked(connection.becomes(401))
        gate.revoke(NOBODY)
        connection.becomes(200)


@pytest.mark.parametrize("watched_namespaces", [frozenset(), frozenset({"other", "tea"})])
def test_a_token_of_an_unwatched_namespace_is_refused(
    gate: RunningGate, watched_namespaces: frozenset[str]
) -> None:
    gate.revoke(RevocationSnapshot(watched_namespaces=watched_namespaces | {"team"}))
    with calling(gate) as connection:
        connection.becomes(200)
        gate.revoke(RevocationSnapshot(watched_namespaces=watched_namespaces))
        answer = connection.becomes(503)
        assert answer.json["message"] == MESSAGES[Reason.UNKNOWN]
        gate.revoke(RevocationSnapshot(watched_namespaces=watched_namespaces, secrets={"secret-1"}))
        assert_revoked(connection.becomes(401))
        gate.revoke(RevocationSnapshot(watched_namespaces=watched_namespaces | {"team"}))
        connection.becomes(200)


def test_a_list_that_is_not_renewed_closes_the_gate_by_envoys_own_clock(gate: RunningGate) -> None:
    """Nobody publishes anything, neither a watch nor istiod, and open connections are refused."""
    gate.revoke(NOBODY)
    with calling(gate) as connection:
        connection.becomes(200)
        now = int(time.time())  # noqa: TID251 - Envoy's clock
        gate.revoke(RevocationSnapshot(tokens={"j-2"}, closed_after_unix=now + 3))
        answer = connection.becomes(503)
        assert time.time() >= now + 3  # noqa: TID251
        assert answer.json["message"] == MESSAGES[Reason.UNKNOWN]
        gate.revoke(RevocationSnapshot(closed_after_unix=now + 600))
        connection.becomes(200)


def test_a_list_that_is_deleted_stays_in_force_until_it_ends(gate: RunningGate) -> None:
    other = f"Authorization: Bearer {token(jti='j-2')}"
    gate.revoke(NOBODY)
    with calling(gate) as connection:
        connection.becomes(200)

        def refuses_before_it_ends() -> tuple[Answer, int] | None:
            ends = int(time.time()) + 5  # noqa: TID251 - Envoy's clock
            gate.revoke(RevocationSnapshot(tokens={"j-1"}, closed_after_unix=ends))
            while time.time() < ends:  # noqa: TID251
                if (answer := connection.ask()).code == 401:
                    return answer, ends
            return None  # this machine was too slow

        answer, ends = eventually("it refuses the token", refuses_before_it_ends)
        assert_revoked(answer)
        (gate.folder / "revoked.json").unlink()
        eventually("it has ended", lambda: gate.send([other]).code == 503)
        assert time.time() >= ends  # noqa: TID251
        assert connection.ask().code == 503
        gate.revoke(NOBODY)
        connection.becomes(200)


def test_a_list_that_envoy_cannot_take_leaves_the_old_one_in_force(gate: RunningGate) -> None:
    gate.revoke(KINDS["secret"])
    with calling(gate) as connection:
        connection.becomes(401)
        (gate.folder / "bad").write_text('{"resources": [{"@type": "x"}]}')
        (gate.folder / "bad").rename(gate.folder / "revoked.json")
        looked = "http_filter.revoked.update_(rejected|failure)"
        eventually("Envoy has looked", lambda: sum(gate.envoy.stats(looked).values()))
        assert_revoked(connection.ask())
