"""`daypass gate serve` over TLS, asked by a real Envoy and by Python's own client."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from daypass._core.reasons import Reason
from support.authority import Authority
from support.authorizers import ask_over_tls
from support.deadline import eventually
from support.fake_reviews import FakeReviews, fake_reviews
from support.gate_differences import told
from support.gates import RunningGate, running_gate
from support.raw import connect, exchange
from support.serving import serving
from support.tokens import USER, Signer, good_claims

NAME = "daypass-gate.daypass.svc"
SIGNER = Signer("ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """An authorizer, whose certificate is of `authority`."""

    folder: Path
    authority: Authority
    reviews: FakeReviews
    port: int

    @contextmanager
    def gate(self, folder: Path, *, authority: Authority, name: str) -> Iterator[RunningGate]:
        """One whose Envoy asks somebody of this authority and name."""
        change = partial(ask_over_tls, port=self.port, authority_pem=authority.pem, name=name)
        with running_gate(
            folder, SIGNER.jwks, longest_lifetime_seconds=7200, check="review", change=change,
        ) as running:  # fmt: skip
            yield running

    def show(self, *, key_of: Authority | None = None) -> None:
        """A new certificate. `key_of`: with a key that is not its own."""
        pair = self.authority.server(NAME)
        key_pem = pair.key_pem if key_of is None else key_of.server(NAME).key_pem
        for name, text in (("tls.key", key_pem), ("tls.crt", pair.certificate_pem)):
            (self.folder / f"{name}.new").write_text(text)
            (self.folder / f"{name}.new").replace(self.folder / name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder, authority = tmp_path_factory.mktemp("a"), Authority()
    with fake_reviews(lambda token: True) as reviews:
        unlistened = Serving(folder=folder, authority=authority, reviews=reviews, port=0)
        unlistened.show()
        with serving(
            folder, reviews, "--listen", "127.0.0.1:0", "--certificate", "tls.crt",
            "--key", "tls.key",
        ) as running:  # fmt: skip
            yield Serving(folder=folder, authority=authority, reviews=reviews, port=running.port)


def bearer(jti: str) -> str:
    return f"Authorization: Bearer {SIGNER.sign(good_claims(jti=jti))}"


def test_envoy_gets_the_same_answers_over_tls(served: Serving, tmp_path: Path) -> None:
    with served.gate(tmp_path, authority=served.authority, name=NAME) as gate:
        line = bearer("good")
        seen = gate.passed(gate.send([line, "kubeflow-userid: admin"]))
        assert seen is not None
        assert seen["kubeflow-userid"] == USER
        assert "authorization" not in seen
        assert served.reviews.asked.count(line.rpartition(" ")[2]) == 1
        refused = gate.send([])
        assert (refused.code, refused.json["code"]) == (401, 401)
        assert told(refused) is Reason.NO_TOKEN
        assert gate.send([line, line]).code == 401


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_envoy_asks_nobody_of_another_authority_or_name_and_lets_nobody_in(
    served: Serving, tmp_path: Path, wrong: str
) -> None:
    authority = Authority() if wrong == "authority" else served.authority
    name = "elsewhere.daypass.svc" if wrong == "name" else NAME
    before = list(served.reviews.asked)
    with served.gate(tmp_path, authority=authority, name=name) as gate:
        assert gate.send([bearer(wrong)]).code == 503
        failed = gate.envoy.stats("^cluster.authorizer.ssl.fail_verify")
        assert sum(failed.values()) >= 1
    assert served.reviews.asked == before


def test_only_a_client_that_speaks_tls_and_trusts_its_authority_is_answered(
    served: Serving,
) -> None:
    question = b"GET / HTTP/1.1\r\nHost: elsewhere.example.com\r\n\r\n"
    trusting = served.authority.pem
    with connect(served.port, authority_pem=trusting, name=NAME) as connection:
        assert exchange(connection, question).code == 404
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(served.port, authority_pem=Authority().pem, name=NAME)
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as plain:
        plain.sendall(question)
        assert not plain.recv(100).startswith(b"HTTP")


def shown(served: Serving) -> str:
    return ssl.get_server_certificate(("127.0.0.1", served.port))


def test_a_renewed_certificate_is_shown_and_half_a_pair_is_not(served: Serving) -> None:
    old = shown(served)
    served.show(key_of=served.authority)
    assert shown(served) == old
    served.show()
    assert eventually("the new one is shown", lambda: shown(served) != old)
