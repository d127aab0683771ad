"""Who may reach what through the gate of one machine, beyond `test_gate_targets`."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.config import Address
from daypass.render.envoy.settings import Protected
from daypass.rules.decision import Allow, GateRequest, Rules, decide
from daypass.rules.reasons import Reason
from support.doors import EKF
from support.endless import UPGRADE, Endless
from support.gate_differences import assert_passed_as, reason_in
from support.gates import RunningGate, running_gate
from support.h2c import Http2
from support.hostile_targets import OPENINGS, all_targets, places
from support.raw import Answer, Conversation, get
from support.single_changes import RULES, known
from support.tokens import AUDIENCE, USER, Signer, good_claims

SIGNER = Signer("ours")


def token(**claims: Any) -> str:
    return SIGNER.sign(good_claims(**claims))


def bearer(**claims: Any) -> str:
    return f"Authorization: Bearer {token(**claims)}"


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
            protected=Protected(address=Address(host="127.0.0.1", port=service.port)),
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


class Asked(socketserver.StreamRequestHandler):
    """Lets all pass as USER, and keeps what it was asked."""

    targets: list[str]

    def handle(self) -> None:
        while line := self.rfile.readline():
            self.targets.append(line.decode("latin-1").split(" ")[1])
            while self.rfile.readline().strip():
                pass
            answer = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nkubeflow-userid: {USER}\r\n\r\n"
            self.wfile.write(answer.encode())


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[list[str]]:
    """What an authorizer at `tmp_path / "socket"` is asked for."""
    found: list[str] = []
    handler = type("Handler", (Asked,), {"targets": found})
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "socket"), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def paths_of(rules: Rules) -> list[str]:
    return sorted({target.path for target in all_targets([rules.audience])})


def test_no_client_can_name_another_gate_to_the_authorizer(
    tmp_path: Path, targets: list[str]
) -> None:
    more = ["//gate/other/", "/../other/", "/gate/other/", "gate/other/", "*", "../other/", "?x"]
    folder = tmp_path / "gate"
    folder.mkdir()
    with (
        running_gate(
            folder, SIGNER.jwks, check="review", authorizer_socket=str(tmp_path / "socket")
        ) as gate
    ):  # fmt: skip
        for path in (*paths_of(RULES), *more):
            targets.clear()
            answer = asked(gate, path, bearer(), "x-envoy-original-path: /gate/other/")
            expected = [f"/gate/default/{path}"] if answer.code == 200 else []
            assert targets == expected, path
        for path in (*paths_of(RULES), *more):
            targets.clear()
            fields = [
                (":method", "GET"), (":scheme", "https"), (":authority", EKF), (":path", path),
                ("authorization", f"Bearer {token()}"),
            ]  # fmt: skip
            with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
                code = client.request(fields).code
            sent = f"/gate/default/{path}".encode().decode("latin-1")
            assert targets == ([sent] if code == 200 else []), path
