"""Who may reach what through the gate of one machine, beyond `test_gate_targets`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.rules.decision import Allow, GateRequest, decide
from daypass.rules.reasons import Reason
from support.doors import EKF
from support.endless import UPGRADE, Endless
from support.gate_differences import assert_passed_as, reason_in
from support.gates import RunningGate, running_gate, service_at
from support.h2c import Http2
from support.hostile_targets import OPENINGS, all_targets, places
from support.impostors import NAMED, Impostor, response
from support.raw import Answer, Conversation, get
from support.single_changes import RULES, known
from support.tokens import AUDIENCE, USER, Signer, good_claims
from wire.authorizers import ask_at

SIGNER = Signer("ours")
token, bearer = SIGNER.good, SIGNER.bearer


def asked(gate: RunningGate, path: str, *lines: str, host: str = EKF) -> Answer:
    with gate.connect() as connection:
        conversation = Conversation(connection)
        conversation.send(get(*lines, host=host, path=path))
        return conversation.answer()


CALLERS = {
    "of the namespace": ("team", "bot"),
    "another of the namespace": ("team", "other"),
    "of another namespace": ("other", "bot"),
    "the one": ("one", "alone"),
    "another of its namespace": ("one", "bot"),
    "one of many": ("n-500", "bot"),
    "none of many": ("n-1000", "bot"),
    "a name in two parts": ("one", "alone.bot"),
}
MANY = frozenset(f"n-{number}" for number in range(999))
ALLOWED = {
    "a namespace": Allow(namespaces=frozenset({"team"})),
    "an identity": Allow(identities=frozenset({"one/alone"})),
    "both": Allow(namespaces=frozenset({"team"}), identities=frozenset({"one/alone"})),
    "nobody": Allow(),
    "many": Allow(namespaces=MANY, identities=frozenset(f"{each}/x" for each in MANY)),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_only_who_is_allowed_passes(tmp_path: Path, case: str) -> None:
    rules = replace(RULES, allow=ALLOWED[case], published=None)
    with running_gate(tmp_path, SIGNER.jwks, rules=rules) as gate:
        for name, (namespace, account) in CALLERS.items():
            sent = token(**{
                "sub": f"system:serviceaccount:{namespace}:{account}",
                "kubernetes.io": {**good_claims()["kubernetes.io"], "namespace": namespace},
            })  # fmt: skip
            request = GateRequest(host=EKF, authorizations=(f"Bearer {sent}",))
            expected = decide(request, rules, SYSTEM_CLOCK.unix(), signed=True).reason
            assert reason_in(gate.send([f"Authorization: Bearer {sent}"])) is expected, name


def test_each_of_fifty_audiences_opens_its_own_paths_and_no_others(tmp_path: Path) -> None:
    names = [f"a{number}.example.com" for number in range(50)]
    table = {name: places(f"{EKF}/serving/{name}/") for name in names}
    with running_gate(tmp_path, SIGNER.jwks, rules=replace(RULES, audiences=table)) as gate:
        for name, other in zip(names, [*names[1:], names[0]], strict=True):
            line = bearer(aud=[name])
            assert_passed_as(asked(gate, f"/serving/{name}/x", line), USER)
            refused = asked(gate, f"/serving/{other}/x", line)
            assert reason_in(refused) is Reason.AUDIENCE_OPENING
        assert_passed_as(asked(gate, "/anything", bearer()), USER)


def test_an_audience_that_looks_like_a_list_is_none(tmp_path: Path) -> None:
    with running_gate(tmp_path, SIGNER.jwks, rules=OPENINGS) as gate:
        for audience in OPENINGS.audiences:
            for text in (f'["{audience}"]', [f'["{audience}"]'], f'"{audience}"'):
                answer = asked(gate, "/serving/alice/", bearer(aud=text))
                assert reason_in(answer) is Reason.AUDIENCE, text


def test_an_absolute_url_names_the_host(tmp_path: Path) -> None:
    """RFC 9112, 3.2.2: the Host header counts for nothing then."""
    with running_gate(tmp_path, SIGNER.jwks, published=known(), rules=OPENINGS) as gate:
        for host, path, reason in (
            (EKF, "/serving/alice/", Reason.ALLOWED),
            ("iris.bob.example.com", "/serving/alice/", Reason.AUDIENCE_OPENING),
            ("IRIS.alice.example.com", "/serving/alice/", Reason.NOT_GUARDED),
            (EKF, "/serving/alice/../bob/", Reason.AMBIGUOUS),
        ):
            answer = asked(gate, f"https://{host}{path}", bearer(aud=["alice.example.com"]))
            assert reason_in(answer) is reason, host
            if answer.code == 200:
                assert (answer.json["path"], answer.json["headers"]["host"]) == (path, host)


def test_a_websocket_is_for_a_host_of_the_gate(tmp_path: Path) -> None:
    with (
        Endless() as service,
        running_gate(
            tmp_path, SIGNER.jwks, rules=OPENINGS,
            protected=service_at(service.port),
        ) as gate,
    ):  # fmt: skip
        for host, audience, code in (
            ("iris.alice.example.com", AUDIENCE, 101),
            ("iris.alice.example.com", "alice.example.com", 101),
            ("iris.bob.example.com", "alice.example.com", 403),
            ("IRIS.alice.example.com", AUDIENCE, 404),
            ("iris.example.com", AUDIENCE, 404),
        ):
            with gate.connect() as connection:
                lines = bearer(aud=[audience]), *UPGRADE
                connection.sendall(get(*lines, host=host, path="/serving/alice/"))
                assert int(connection.recv(65536).split(b" ")[1]) == code, host


def test_no_client_can_name_another_gate_to_the_authorizer(tmp_path: Path) -> None:
    paths = {target.path for target in all_targets([RULES.audience])}
    more = {"//gate/other/", "/../other/", "/gate/other/", "gate/other/", "*", "../other/", "?x"}
    with (
        Impostor() as authorizer,
        running_gate(
            tmp_path, SIGNER.jwks, check="review", change=partial(ask_at, port=authorizer.port)
        ) as gate,
    ):
        authorizer.behaviour = response(NAMED)
        for path in sorted(paths | more):
            authorizer.asked.clear()
            answer = asked(gate, path, bearer(), "x-envoy-original-path: /gate/other/")
            assert targets(authorizer) == ([f"/gate/default/{path}"] * (answer.code == 200)), path
            authorizer.asked.clear()
            fields = [
                (":method", "GET"), (":scheme", "https"), (":authority", EKF), (":path", path),
                ("authorization", f"Bearer {token()}"),
            ]  # fmt: skip
            with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
                code = client.request(fields).code
            sent = f"/gate/default/{path}".encode().decode("latin-1")
            assert targets(authorizer) == ([sent] * (code == 200)), path


def targets(authorizer: Impostor) -> list[str]:
    return [head.split(" ")[1] for head in authorizer.asked]
