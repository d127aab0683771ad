"""The door's serving certificate, and the copies of authorities."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from daypass._core.tls import client_context
from daypass.deploy.facts import certificates_in
from daypass.deploy.prerequisites import (
    LIFETIME,
    RENEWED_BEFORE,
    authority_in,
    authority_object,
    is_due,
    make_serving_certificate,
)
from daypass.testing import MovableClock as Clock

HOST = "daypass-door.daypass.svc"


def text(pair: dict[str, Any], name: str) -> str:
    return base64.b64decode(pair["data"][name]).decode()


def handshake(tmp_path: Path, pair: dict[str, Any], authority: str, name: str) -> None:
    """A TLS handshake between a server with this pair and a client that trusts this authority."""
    (tmp_path / "pem").write_text(text(pair, "tls.crt") + text(pair, "tls.key"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pem")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(authority).wrap_bio(incoming, outgoing, server_hostname=name)
    other = server.wrap_bio(outgoing, incoming, server_side=True)
    for _ in range(4):
        for side in (client, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_the_certificate_is_trusted_only_by_its_authority_and_for_its_name(tmp_path: Path) -> None:
    pair = make_serving_certificate("daypass", "pair", HOST, Clock())
    handshake(tmp_path, pair, authority_in(pair), HOST)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, pair, authority_in(pair), "daypass-door.other.svc")
    other = make_serving_certificate("daypass", "pair", HOST, Clock())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, pair, authority_in(other), HOST)


def test_the_new_authority_bundle_still_trusts_the_old_certificate(tmp_path: Path) -> None:
    old = make_serving_certificate("daypass", "pair", HOST, Clock())
    new = make_serving_certificate("daypass", "pair", HOST, Clock(), authority_in(old))
    for pair in (old, new):
        handshake(tmp_path, pair, authority_in(new), HOST)


def test_a_certificate_is_renewed_before_it_expires_and_a_foreign_one_never() -> None:
    clock = Clock()
    metadata = make_serving_certificate("daypass", "pair", HOST, clock)["metadata"]
    clock.move((LIFETIME - RENEWED_BEFORE).total_seconds() - 60)
    assert not is_due(metadata, clock)
    clock.move(120)
    assert is_due(metadata, clock)
    assert not is_due({"annotations": {}}, clock)


def test_only_certificates_of_an_authority_are_copied() -> None:
    pair = make_serving_certificate("daypass", "pair", HOST, Clock())
    mixed = text(pair, "tls.key") + "# note\n" + text(pair, "ca.crt")
    assert certificates_in(mixed) == text(pair, "ca.crt")
    assert authority_in({"kind": "ConfigMap", "data": {"ca.crt": mixed}}) == text(pair, "ca.crt")
    for kind in ("Secret", "ConfigMap"):
        copied = authority_object(kind, "istio-system", "trust", text(pair, "ca.crt"))
        assert list(copied["data"]) == ["ca.crt"]
        assert authority_in(copied) == text(pair, "ca.crt")
