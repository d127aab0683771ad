"""`daypass gate serve` over TLS; an Envoy asks it in cluster/test_gate_serve.py."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass._core.files import write_private
from daypass.config.gate import DEFAULT_GATE
from daypass.render.names import gate_prefix
from support.authority import Authority
from support.deadline import eventually
from support.fake_reviews import fake_reviews
from support.raw import connect, exchange, get
from support.serving import Served, serving

NAME = "daypass-gate.daypass.svc"
AUTHORITY = Authority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a")


def show(folder: Path, certificate_pem: str, key_pem: str) -> None:
    """Put a certificate and a key in place, each as a whole."""
    for name, text in (("tls.key", key_pem), ("tls.crt", certificate_pem)):
        write_private(str(folder / name), text.encode())


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    pair = AUTHORITY.server(NAME)
    show(folder, pair.certificate_pem, pair.key_pem)
    tls = ("--listen", "127.0.0.1:0", "--certificate", "tls.crt", "--key", "tls.key")
    with fake_reviews(lambda token: True) as reviews, serving(folder, reviews, *tls) as running:
        yield running


def test_only_a_client_that_speaks_tls_and_trusts_its_authority_is_answered(
    served: Served,
) -> None:
    question = get(host="elsewhere.example.com", path=f"{gate_prefix(DEFAULT_GATE)}/")
    with connect(served.port, authority_pem=AUTHORITY.pem, name=NAME) as connection:
        assert exchange(connection, question).code == 404
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(served.port, authority_pem=Authority().pem, name=NAME)
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as plain:
        plain.sendall(question)
        assert not plain.recv(100).startswith(b"HTTP")


def test_a_renewed_certificate_is_shown_and_half_a_pair_is_not(
    served: Served, folder: Path
) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", served.port))

    def expires() -> float:
        return served.metric("daypass_gate_certificate_expiration_timestamp_seconds")

    old, new, other = shown(), AUTHORITY.server(NAME, days=3), AUTHORITY.server(NAME)
    before = expires()
    show(folder, new.certificate_pem, other.key_pem)
    assert shown() == old
    show(folder, new.certificate_pem, new.key_pem)
    eventually("the new one is shown", lambda: shown() == new.certificate_pem)
    assert 1.5 < (expires() - before) / 86400 < 2.5
