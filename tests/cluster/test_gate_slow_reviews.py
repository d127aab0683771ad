"""Tokens that a real API server is slow to refuse delay nobody but the client that sends them."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from daypass._core.files import write_private
from daypass._core.jwt import decode_unverified
from daypass.config.gate import DEFAULT_GATE
from daypass.render.names import gate_prefix
from daypass.rules.reasons import REASON_HEADER, Reason
from support.authority import Authority
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.objects import kubeconfig
from support.raw import Answer, connect, exchange, get
from support.serving import Served, gate_serve_over_tls
from support.tcp_server import TcpServer
from support.tokens import AUDIENCE, ISSUER, Signer

HOST, NAME = "ekf.example.com", "daypass-gate.daypass.svc"
ATTACKER, VICTIM = "192.0.2.1", "192.0.2.2"
MISSES = r'daypass_gate_cache_lookups_total\{gate="default",result="miss"\}'
"""Tokens that a TokenReview was sent for, or waits for."""
IN_FLIGHT = "daypass_gate_reviews_in_flight"
CONFIG = f"""\
version: 1
cluster: {{issuer: '{ISSUER}'}}
domains: {{ekf: {{host: {HOST}, front: gateway-api, gateway: infra/public, tls: outside}}}}
gates:
  default: {{audience: {AUDIENCE}, engine: envoy-gateway, check: review, gateway: infra/public}}
"""


class HangingWebhook(TcpServer):
    """Takes every question about a token, and never answers."""

    def serve(self, connection: socket.socket) -> None:
        while connection.recv(65536):
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """An authorizer that verifies tokens itself, and asks an API server whose webhook hangs."""

    plane: ControlPlane
    served: Served
    authority: Authority
    identity: Identity

    def connected(self) -> ssl.SSLSocket:
        return connect(self.served.port, authority_pem=self.authority.pem, name=NAME)

    def send(self, token: str, source: str) -> Answer:
        with self.connected() as connection:
            return exchange(connection, asking(token, source))

    def token(self, **changes: Any) -> str:
        """A new token of the identity, or with these claims."""
        token = self.plane.make_token(self.identity, audiences=[AUDIENCE]).reveal()
        return self.plane.sign({**decode_unverified(token)[1], **changes}).reveal()


def asking(token: str, source: str) -> bytes:
    lines = (f"Authorization: Bearer {token}", f"x-envoy-external-address: {source}")
    return get(*lines, host=HOST, path=f"{gate_prefix(DEFAULT_GATE)}/pipeline")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder, authority = tmp_path_factory.mktemp("slow"), Authority()
    with HangingWebhook() as webhook:
        hook = folder / "webhook"
        write_private(
            str(hook), json.dumps(kubeconfig(f"http://127.0.0.1:{webhook.port}", {})).encode()
        )
        flags = [
            f"--authentication-token-webhook-config-file={hook}",
            "--authentication-token-webhook-version=v1",
        ]
        with ControlPlane.start(folder / "plane", extra_apiserver_args=flags) as plane:
            options = ("--kubeconfig", str(plane.kubeconfig), "--without-watch")
            pair = authority.server(NAME)
            with gate_serve_over_tls(folder, CONFIG, pair, *options) as served:
                yield Gate(
                    plane=plane, served=served, authority=authority, identity=plane.make_identity()
                )
        webhook.drop_connections()


def test_it_is_ready_although_the_webhook_hangs(gate: Gate) -> None:
    def is_ready() -> bool:
        with urllib.request.urlopen(f"http://{gate.served.status}/readyz", timeout=20) as answer:
            return bool(answer.status == 200)

    eventually("it is ready", is_ready)


def test_forged_tokens_reach_no_api_server_and_delay_nobody(gate: Gate) -> None:
    before = gate.served.metric(MISSES)
    claims, stranger = decode_unverified(gate.token())[1], Signer()
    for number in range(200):
        forged = stranger.named(f"forged-{number}" if number % 2 else gate.plane.signer.key_id)
        answer = gate.send(forged.sign({**claims, "jti": f"forged-{number}"}), ATTACKER)
        assert answer.headers[REASON_HEADER] == Reason.SIGNATURE
        if number % 20 == 0:
            assert gate.send(gate.token(), VICTIM).code == 200
    assert gate.served.metric(MISSES) == before + 10


def test_slow_reviews_of_signed_tokens_delay_no_other_source(gate: Gate) -> None:
    """The webhook is asked about tokens that are signed, and bound to what is no more."""
    gone = gate.plane.make_identity(gate.identity.namespace, "gone")
    token = gate.plane.make_token(gone, audiences=[AUDIENCE]).reveal()
    claims = decode_unverified(token)[1]
    gate.plane.admin.delete(gone.secret_path)
    signer = gate.plane.signer
    slow = [signer.sign({**claims, "jti": f"slow-{number}"}) for number in range(150)]
    quick = [gate.token(jti=f"quick-{number}") for number in range(30)]
    with ExitStack() as stack:
        waiting = [stack.enter_context(gate.connected()) for _ in slow]
        for connection, each in zip(waiting, slow, strict=True):
            connection.sendall(asking(each, ATTACKER))
        eventually("many are reviewed", lambda: gate.served.metric(IN_FLIGHT) >= 32)
        assert [gate.send(each, VICTIM).code for each in quick] == [200] * len(quick)
        assert gate.served.metric(IN_FLIGHT) >= 32, "all of that while they are in flight"
        codes = {exchange(connection, b"").json["code"] for connection in waiting}
        assert codes == {503}
