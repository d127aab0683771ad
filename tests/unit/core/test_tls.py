"""Every TLS context verifies certificate and host name."""

from __future__ import annotations

import ssl

import pytest

from daypass._core.tls import BadCertificateAuthorityError, client_context
from support.authority import Authority
from support.messages import raises


def test_chain_and_name_are_always_verified() -> None:
    for context in (client_context(None), client_context(Authority().pem)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_configured_authority_replaces_the_system_ones() -> None:
    assert len(client_context(Authority().pem).get_ca_certs()) == 1
    both = Authority().pem + Authority().pem
    assert len(client_context(both).get_ca_certs()) == 2


@pytest.mark.parametrize(
    "text",
    ["", " ", "hello", "é", "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"],
    ids=["empty", "blank", "words", "not ASCII", "damaged"],
)
def test_an_invalid_authority_does_not_fall_back_to_the_system_ones(text: str) -> None:
    with raises(BadCertificateAuthorityError):
        client_context(text)
