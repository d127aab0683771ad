"""The door's URL."""

from __future__ import annotations

import pytest

from daypass.client.door import DoorUrl
from daypass.client.errors import CredentialsError
from support.messages import raises


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://ekf.example.com/kubernetes", "ekf.example.com", 443, "ekf.example.com", None),
        ("HTTPS://EKF.example.com/kubernetes/", "ekf.example.com", 443, "ekf.example.com", None),
        ("https://ekf:8443/a/b", "ekf", 8443, "ekf:8443", "/a/b"),
        ("https://[2001:DB8::1]/kubernetes", "2001:db8::1", 443, "[2001:db8::1]", None),
        ("https://[2001:db8::1]:8443/kubernetes", "2001:db8::1", 8443, "[2001:db8::1]:8443", None),
        ("http://127.0.0.1:8080/kubernetes", "127.0.0.1", 8080, "127.0.0.1:8080", None),
        ("http://localhost/kubernetes", "localhost", 80, "localhost", None),
    ],
)
def test_a_url_names_host_port_and_path(
    url: str, host: str, port: int, authority: str, path: str | None
) -> None:
    door = DoorUrl.parse(url)
    assert (door.address.host, door.address.port) == (host, port)
    assert door.authority == authority
    assert door.path == (path or "/kubernetes")
    assert door.tls is url.lower().startswith("https:")
    assert not door.url.endswith("/")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        "ekf.example.com/kubernetes",
        "https://me:pw@ekf.example.com/kubernetes",
        "https://ekf.example.com/kubernetes?x=1",
        "https://ekf.example.com/kubernetes#x",
        "https://ekf.example.com:x/kubernetes",
        pytest.param("https://a\r\nb/kubernetes", id="line break in the host"),
        "https://ekf.example.com/kubernetes/../x",
        pytest.param("https://ekf.example.com/kube\r\nX: y", id="line break in the path"),
        "http://ekf.example.com/kubernetes",
        "http://10.0.0.1/kubernetes",
        "http://127.0.0.1.example.com/kubernetes",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with raises(CredentialsError) as raised:
        DoorUrl.parse(url)
    assert raised.value.hint
    assert "pw" not in str(raised.value)


def test_a_url_without_a_path_suggests_one() -> None:
    with raises(CredentialsError, match=r"https://ekf\.example\.com/kubernetes"):
        DoorUrl.parse("https://ekf.example.com/")
