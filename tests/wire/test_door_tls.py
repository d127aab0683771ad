"""Attack classes 3 and 10: whom the door trusts, what it shows, and that it holds no identity."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from daypass._core.files import write_private
from daypass.config import Address
from daypass.render.envoy.settings import DoorSettings
from support.authority import Authority, Certificate
from support.deadline import eventually
from support.doors import (
    EKF,
    SERVING,
    Door,
    DoorEnv,
    assert_refused,
    post,
    running_door_env,
)
from support.ports import free_ports
from support.recorder import UPSTREAM_NAME

Shown: TypeAlias = Callable[[Authority], Certificate]


def named(*names: str) -> Shown:
    return lambda authority: authority.server(*names)


IMPOSTORS: dict[str, tuple[str, Shown]] = {
    "another authority": (UPSTREAM_NAME, lambda _: Authority().server(UPSTREAM_NAME)),
    "a certificate for clients": (UPSTREAM_NAME, lambda a: a.client(UPSTREAM_NAME)),
    "part of the name": (UPSTREAM_NAME, named("kubernetes.default")),
    "a longer name": (UPSTREAM_NAME, named("kubernetes.default.svc.evil.example.com")),
    "an address for a name": (UPSTREAM_NAME, named("127.0.0.1")),
    "a wildcard": (UPSTREAM_NAME, named("*.svc")),
    "another address": ("10.0.0.1", named("10.0.0.2", "fd00::2", "127.0.0.1")),
    "another IPv6 address": ("fd00::1", named("10.0.0.2", "fd00::2", "127.0.0.1")),
}
"""What the door looks for, and what it is shown."""


def looking_for(server_name: str) -> Callable[[DoorSettings], DoorSettings]:
    return lambda s: replace(s, upstream=replace(s.upstream, server_name=server_name))


@pytest.mark.parametrize("who", IMPOSTORS)
def test_an_impostor_gets_nothing(tmp_path: Path, who: str) -> None:
    server_name, certificate = IMPOSTORS[who]
    with running_door_env(tmp_path, change=looking_for(server_name)) as env:
        env.recorder.show(certificate(env.authority))
        assert_refused(env.door.send(post()), 503)
        assert_refused(env.door.send(post(method="GET", headers=(), body=b"")), 503)
    assert env.recorder.total == 0


@pytest.mark.parametrize(
    ("server_name", "names", "host"),
    [
        ("10.0.0.1", ("kubernetes", "10.0.0.1"), "10.0.0.1"),
        ("fd00::1", ("fd00::1",), "[fd00::1]"),
        (UPSTREAM_NAME, ("other", UPSTREAM_NAME), UPSTREAM_NAME),
    ],
)
def test_an_upstream_is_known_by_a_name_or_an_address_and_is_called_by_it(
    tmp_path: Path, server_name: str, names: tuple[str, ...], host: str
) -> None:
    with running_door_env(tmp_path, change=looking_for(server_name)) as env:
        env.recorder.show(env.authority.server(*names))
        assert env.door.send(post()).code == 201
    (arrived,) = env.recorder.take()
    assert arrived.faults(host=host) == []


def test_the_door_shows_no_certificate_though_it_is_asked_for_one(env: DoorEnv) -> None:
    assert len(env.send(post()).arrived) == 1
    assert env.recorder.client_certificates == 0


def test_every_connection_is_verified_afresh(tmp_path: Path) -> None:
    """A resumed session would be as good as the certificate of the first."""
    with running_door_env(tmp_path) as env:
        assert len(env.send(post()).arrived) == 1
        env.recorder.show(Authority().server(UPSTREAM_NAME))
        env.recorder.drop_connections()
        assert_refused(env.door.send(post()), 503)
        assert env.door.stat("cluster.api-server.ssl.session_reused") == 0
        assert env.door.stat("cluster.api-server.ssl.versions.TLSv1.3") > 0


def test_an_upstream_that_is_not_there_is_answered_503(tmp_path: Path) -> None:
    nowhere = Address(host="127.0.0.1", port=free_ports(1)[0])
    with running_door_env(
        tmp_path, change=lambda s: replace(s, upstream=replace(s.upstream, address=nowhere))
    ) as env:
        assert_refused(env.door.send(post()), 503)


def test_a_replaced_authority_is_followed_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "upstream-ca.crt"
    with running_door_env(tmp_path) as env:
        pid = env.door.envoy.pid
        write_private(str(file), Authority().pem.encode())

        def refused() -> bool:
            env.recorder.drop_connections()
            return env.door.send(post()).code == 503

        eventually("the old one is not trusted any more", refused)
        seen = env.recorder.total
        assert_refused(env.door.send(post()), 503)
        assert env.recorder.total == seen
        write_private(str(file), env.authority.pem.encode())
        eventually("the new authority is trusted", lambda: env.door.send(post()).code == 201)
        assert env.door.envoy.pid == pid


def test_an_authority_that_is_no_certificate_leaves_the_last_one_in_force(tmp_path: Path) -> None:
    with running_door_env(tmp_path) as env:
        write_private(str(tmp_path / "upstream-ca.crt"), b"no certificate")
        failed = "sds.api-server.authority.key_rotation_failed"
        eventually("it is refused", lambda: env.door.stat(failed))
        env.recorder.drop_connections()
        assert len(env.send(post()).arrived) == 1
        env.recorder.show(Authority().server(UPSTREAM_NAME))
        env.recorder.drop_connections()
        assert_refused(env.door.send(post()), 503)


@pytest.mark.parametrize("name", [EKF, SERVING, EKF.upper()])
def test_each_domain_shows_its_own_certificate(env: DoorEnv, name: str) -> None:
    assert shown_names(env.door, name) == [name.lower()]


@pytest.mark.parametrize("name", [EKF, SERVING])
def test_each_domain_takes_token_requests(env: DoorEnv, name: str) -> None:
    assert len(env.send(post(host=name), name=name).arrived) == 1


@pytest.mark.parametrize(
    "name", ["evil.example.com", "example.com", f"x.{EKF}", "kubernetes.default.svc", None]
)
def test_an_unknown_name_or_none_gets_no_handshake(env: DoorEnv, name: str | None) -> None:
    with plain_to(env.door) as plain, pytest.raises(OSError, match=r"EOF|reset"):
        unverified().wrap_socket(plain, server_hostname=name)
    assert env.arrived() == ()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_below_1_2_is_not_spoken(env: DoorEnv, version: ssl.TLSVersion) -> None:
    context = unverified()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with plain_to(env.door) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=EKF)


@pytest.mark.parametrize(
    "plain",
    [
        post(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + post(),  # inside the handshake
    ],
)
def test_plain_http_is_not_answered(env: DoorEnv, plain: bytes) -> None:
    with plain_to(env.door) as connection:
        connection.sendall(plain)
        answer = read_to_end(connection)
    assert answer == b"" or (plain[0] == 0x16 and b"HTTP" not in answer)
    assert env.arrived() == ()


def test_a_host_of_the_other_domain_is_one_of_ours(env: DoorEnv) -> None:
    """Both domains publish the same; what was asked for in the handshake opens nothing more."""
    assert len(env.send(post(host=SERVING), name=EKF).arrived) == 1
    assert_refused(env.send(post("/api", host=SERVING), name=EKF).answer, 404)


def test_a_renewed_certificate_is_followed_without_a_restart(tmp_path: Path) -> None:
    with running_door_env(tmp_path) as env:
        pid, old = env.door.envoy.pid, shown(env.door, EKF)
        renewed = env.door.authority.server(EKF)
        write_private(str(tmp_path / "ekf.key"), renewed.key_pem.encode())
        write_private(str(tmp_path / "ekf.crt"), renewed.certificate_pem.encode())
        wanted = x509.load_pem_x509_certificate(renewed.certificate_pem.encode())
        with env.door.connect() as open_connection:
            eventually("it is shown", lambda: shown(env.door, EKF) == wanted)
            assert wanted != old
            assert open_connection.getpeercert(binary_form=True) is not None
        assert shown_names(env.door, SERVING) == [SERVING]
        assert env.door.envoy.pid == pid
        # A key that is not the certificate's leaves the last pair in force.
        write_private(str(tmp_path / "ekf.key"), env.door.authority.server(EKF).key_pem.encode())
        failed = "sds.ekf.key_rotation_failed"
        eventually("it is refused", lambda: env.door.stat(failed))
        assert len(env.send(post()).arrived) == 1
        assert shown(env.door, EKF) == wanted


def test_a_door_on_ipv6_takes_token_requests(tmp_path: Path) -> None:
    with running_door_env(
        tmp_path, change=lambda settings: replace(settings, listen=Address(host="::1", port=0))
    ) as env:
        (arrived,) = env.send(post()).arrived
        assert arrived.header("x-forwarded-for") == "::1"


def plain_to(door: Door) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=60)


def unverified() -> ssl.SSLContext:
    """A client that takes any certificate, to see which one it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(door: Door, name: str) -> x509.Certificate:
    with (
        plain_to(door) as plain,
        unverified().wrap_socket(plain, server_hostname=name) as connection,
    ):
        certificate = connection.getpeercert(binary_form=True)
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate)


def shown_names(door: Door, name: str) -> list[str]:
    certificate = shown(door, name)
    assert certificate.public_bytes(Encoding.PEM).decode() != door.authority.pem
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def read_to_end(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
    return data
