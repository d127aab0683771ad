"""Connections to an API server: TLS, proxies, credentials."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from daypass.kube.cluster import Cluster
from daypass.kube.errors import ClusterUnreachableError, KubeconfigError, UnauthorizedError
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import NAMESPACES
from support.authority import Authority
from support.fake_door import FakeDoor, FakeProxy, status_answer
from support.messages import raises
from unit.kube.conftest import EMPTY, V1, Open, Script, Write, authorization, printing, user_of

SENTINEL = "SENTINEL-of-a-kubeconfig"


def test_the_certificate_must_be_signed_by_the_kubeconfigs_authority(opened: Open) -> None:
    cluster, server = opened(EMPTY, context=Authority().context("127.0.0.1"))
    hide = "(?<=should be: ).*"  # the words of OpenSSL
    with raises(ClusterUnreachableError, match=r"127\.0\.0\.1:\d+", hide=hide):
        cluster.list(NAMESPACES)
    assert server.requests == []


@pytest.mark.parametrize(("named", "trusted"), [("api.test", True), ("other.test", False)])
def test_tls_server_name_is_what_the_certificate_must_name(
    opened: Open, named: str, trusted: bool
) -> None:
    cluster, server = opened(EMPTY, name="api.test", **{"tls-server-name": named})
    if trusted:
        assert cluster.list(NAMESPACES) == []
    else:
        with raises(ClusterUnreachableError, match="other.test"):
            cluster.list(NAMESPACES)
        assert server.requests == []


@pytest.mark.parametrize("by", ["data", "file", "plugin"])
def test_a_client_certificate_is_presented(
    opened: Open, authority: Authority, script: Script, tmp_path: Path, by: str
) -> None:
    of_users = Authority("an authority of users")
    pair = of_users.client("me")
    context = authority.context("127.0.0.1")
    context.load_verify_locations(cadata=of_users.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    shown: list[Any] = []

    def note(connection: Any) -> None:
        shown.append(connection.getpeercert())
        connection.sendall(EMPTY)

    user: dict[str, Any] = {}
    if by == "plugin":
        pems = {"clientCertificateData": pair.certificate_pem, "clientKeyData": pair.key_pem}
        user = user_of(script(printing(**pems)))
    else:
        pems = {"client-certificate": pair.certificate_pem, "client-key": pair.key_pem}
        for name, pem in pems.items():
            (tmp_path / name).write_text(pem)
            inline = base64.b64encode(pem.encode()).decode()
            user |= {name: name} if by == "file" else {f"{name}-data": inline}
    cluster, server = opened(note, context=context, user=user)
    assert cluster.list(NAMESPACES) == []
    assert shown[0]["subject"] == ((("commonName", "me"),),)
    assert authorization(server) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_mismatched_or_encrypted_key_is_refused_without_a_prompt(
    opened: Open, encrypted: bool
) -> None:
    pair, key = Authority().client("me"), Authority().client("me").key_pem
    if encrypted:
        locked, own = (
            BestAvailableEncryption(b"x"),
            load_pem_private_key(pair.key_pem.encode(), None),
        )
        key = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode()
    pems = {"client-certificate-data": pair.certificate_pem, "client-key-data": key}
    user = {name: base64.b64encode(pem.encode()).decode() for name, pem in pems.items()}
    with raises(KubeconfigError, match=r"certificate.*context one of .*/config"):
        opened(EMPTY, user=user)


def test_a_refused_plugin_token_is_requested_again_once(opened: Open, script: Script) -> None:
    refused = status_answer(401, "Unauthorized")
    user = user_of(script(printing(token="t$n")))
    cluster, server = opened(refused, EMPTY, refused, refused, user=user)
    assert cluster.list(NAMESPACES) == []
    assert authorization(server) == ["Bearer t1", "Bearer t2"]
    with pytest.raises(UnauthorizedError):
        cluster.list(NAMESPACES)
    assert authorization(server)[2:] == ["Bearer t2", "Bearer t3"]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"token": "t", "tokenFile": "file"}, "Bearer from-file"),
        ({"token": "t", "exec": {"command": "false", "apiVersion": V1}}, "Bearer t"),
    ],
)
def test_of_several_credentials_kubectls_choice_is_used(
    opened: Open, tmp_path: Path, user: dict[str, Any], expected: str
) -> None:
    (tmp_path / "file").write_text("from-file\n")
    cluster, server = opened(EMPTY, user=user)
    cluster.list(NAMESPACES)
    assert authorization(server) == [expected]


def test_a_token_file_is_read_for_each_request(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    cluster, server = opened(EMPTY, user={"tokenFile": "token"})
    cluster.list(NAMESPACES)
    file.write_text("two\n")
    cluster.list(NAMESPACES)
    assert authorization(server) == ["Bearer one", "Bearer two"]
    file.unlink()
    with raises(KubeconfigError, match=r"/token.*: No such file"):
        cluster.list(NAMESPACES)


@pytest.mark.parametrize("where", ["token", "tokenFile", "as"])
def test_a_token_invalid_in_a_header_is_refused_without_showing_it(
    opened: Open, tmp_path: Path, where: str
) -> None:
    token = f"{SENTINEL}\n{SENTINEL}"
    (tmp_path / "file").write_text(token)
    user = {where: "file" if where == "tokenFile" else token}
    with raises(KubeconfigError) as refused:
        opened(EMPTY, user=user)[0].list(NAMESPACES)
    assert SENTINEL not in repr(refused.value)


@pytest.mark.parametrize("by", ["proxy-url", "HTTPS_PROXY"])
def test_a_proxy_tunnels_and_sees_no_credentials(
    authority: Authority, by: str, write: Write
) -> None:
    with (
        FakeDoor(EMPTY, context=authority.context("api.test")) as server,
        FakeProxy(server.port) as proxy,
    ):
        url = f"http://me:secret@127.0.0.1:{proxy.port}"
        fields = {
            "server": "https://api.test:6443",
            "certificate-authority-data": base64.b64encode(authority.pem.encode()).decode(),
        }
        file = write(cluster=fields | ({by: url} if by == "proxy-url" else {}), user={"token": "t"})
        environ = {"HTTPS_PROXY": url} if by == "HTTPS_PROXY" else {"NO_PROXY": "api.test"}
        cluster = Cluster(find_connection_config(environ, kubeconfig=str(file)))
        assert cluster.list(NAMESPACES) == []
        cluster.close()
    assert proxy.requests[0].startswith(b"CONNECT api.test:6443 HTTP/1.1\r\n")
    assert b"Bearer" not in proxy.requests[0]
    assert b"Proxy-Authorization" not in server.requests[0]
    assert "secret" not in repr(cluster.connection)


def test_an_unusable_proxy_is_reported_without_its_password(write: Write) -> None:
    url = f"gopher://u:{SENTINEL}@proxy"
    access = find_connection_config({}, kubeconfig=str(write(cluster={"proxy-url": url})))
    with raises(KubeconfigError, match="proxy") as refused:
        Cluster(access)
    assert SENTINEL not in repr(refused.value)
