"""A kubeconfig entry for an API server: never for the door, never over an existing file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from daypass._core.errors import UsageError
from daypass.client.door import DoorUrl
from daypass.integrations.kubectl import (
    check_server,
    read_public_authority,
    write_new,
)
from support.authority import Authority
from support.messages import raises

DOOR = DoorUrl.parse("https://ekf.example.com/kubernetes")


@pytest.mark.parametrize(
    ("server", "host"),
    [
        ("https://k8s.example.com:6443", "k8s.example.com"),
        ("https://ekf.example.com:8443/kubernetes", "ekf.example.com"),
        ("https://k8s.example.com/kubernetes", "k8s.example.com"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("https://[::1]:6443/", "::1"),
    ],
)
def test_the_url_of_an_api_server_is_accepted(server: str, host: str) -> None:
    assert check_server(server, DOOR) == host


@pytest.mark.parametrize(
    "server",
    [
        "https://ekf.example.com/kubernetes",
        "https://EKF.example.com:443/kubernetes",
        "https://ekf.example.com",
        "https://ekf.example.com/kubernetesx",
    ],
)
def test_the_url_of_the_door_is_refused(server: str) -> None:
    with raises(UsageError, match="door"):
        check_server(server, DOOR)


@pytest.mark.parametrize(
    "server",
    ["k8s.example.com", "https://u:p@x", "https://x?y", "http://k8s.example.com", "https://x y"],
)
def test_an_invalid_url_of_an_api_server_is_refused(server: str) -> None:
    with raises(UsageError):
        check_server(server, DOOR)


@pytest.mark.parametrize("path", ["/nowhere/config", pytest.param("a\0b", id="NUL")])
def test_a_file_that_cannot_be_written_is_an_error(path: str) -> None:
    with raises(UsageError, match=path):
        write_new(path, "new")


def test_a_private_key_among_the_certificates_is_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    file = tmp_path / "ca.pem"
    for content in (
        Authority().pem.encode() + key,
        key + Authority().pem.encode(),
    ):
        file.write_bytes(content)
        with raises(UsageError, match="private key"):
            read_public_authority(str(file))
