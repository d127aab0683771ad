"""The door's URL."""

from __future__ import annotations

import pytest

from daypass.client.address import Door, HostPort
from daypass.client.errors import CredentialsError


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://ekf.example.com/kubernetes", "ekf.example.com", 443, "ekf.example.com", None),
        ("HTTPS://EKF.example.com/kubernetes/", "ekf.example.com", 443, "ekf.example.com", None),
        ("https://ekf:8443/a/b", "ekf", 8443, "ekf:8443", "/a/b"),
        ("https://[2001:DB8::1]/kubernetes", "2001:db8::1", 443, "[2001:db8::1]", None),
        ("https://[2001:db8::1]:8443/kubernetes", "2001:db8::1", 8443, "[2001:db8::1]:8443", None),
        ("http://127.0.0.1:8080/kubernetes", "127.0.0.1", 8080, "127.0.0.1:8080", None),
        ("http://127.1.2.3/kubernetes", "127.1.2.3", 80, "127.1.2.3", None),
        ("http://[::1]:80/kubernetes", "::1", 80, "[::1]", None),
        ("http://localhost/kubernetes", "localhost", 80, "localhost", None),
    ],
)
def test_a_url_names_host_port_and_path(
    url: str, host: str, port: int, authority: str, path: str | None
) -> None:
    door = Door.parse(url)
    assert (door.address.host, door.address.port) == (host, port)
    assert door.authority == authority
    assert door.path == (path or "/kubernetes")
    assert door.tls is url.lower().startswith("https:")
    assert not door.url.endswith("/")


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("", "does not begin with https://"),
        ("ekf.example.com/kubernetes", "does not begin with https://"),
        ("ftp://ekf.example.com/kubernetes", "does not begin with https://"),
        ("https:/ekf.example.com/kubernetes", "does not begin with https://"),
        ("https://me:pw@ekf.example.com/kubernetes", "holds a user name"),
        ("https://ekf.example.com/kubernetes?x=1", "has a query or a fragment"),
        ("https://ekf.example.com/kubernetes#x", "has a query or a fragment"),
        ("https://ekf.example.com?x", "has a query or a fragment"),
        ("https:///kubernetes", "names no host and port"),
        ("https://ekf.example.com:/kubernetes", "names no host and port"),
        ("https://ekf.example.com:0/kubernetes", "names no host and port"),
        ("https://ekf.example.com:65536/kubernetes", "names no host and port"),
        ("https://ekf.example.com:x/kubernetes", "names no host and port"),
        ("https://ekf_example/kubernetes", "names no host and port"),
        ("https://ekf..example/kubernetes", "names no host and port"),
        ("https://-ekf/kubernetes", "names no host and port"),
        ("https://éf.example.com/kubernetes", "names no host and port"),
        ("https://a b/kubernetes", "names no host and port"),
        ("https://a\r\nb/kubernetes", "names no host and port"),
        ("https://[::1/kubernetes", "names no host and port"),
        ("https://[nonsense]/kubernetes", "names no host and port"),
        ("https://[::1]x/kubernetes", "names no host and port"),
        ("https://ekf.example.com/kubernetes/../x", "is not a plain one"),
        ("https://ekf.example.com/./kubernetes", "is not a plain one"),
        ("https://ekf.example.com//kubernetes", "is not a plain one"),
        ("https://ekf.example.com/kube%72netes", "is not a plain one"),
        ("https://ekf.example.com/kube rnetes", "is not a plain one"),
        ("https://ekf.example.com/kube\r\nX: y", "is not a plain one"),
        ("https://ekf.example.com/kube;x", "is not a plain one"),
        ("https://ekf.example.com/kubernetes/api/v1", "goes on behind the door"),
        ("https://ekf.example.com/kubernetes/api/v1/namespaces/x", "goes on behind the door"),
        ("http://ekf.example.com/kubernetes", "in the clear"),
        ("http://10.0.0.1/kubernetes", "in the clear"),
        ("http://127.0.0.1.example.com/kubernetes", "in the clear"),
        ("http://127.0.0.999/kubernetes", "in the clear"),
        ("http://localhost.example.com/kubernetes", "in the clear"),
        ("http://[::2]/kubernetes", "in the clear"),
    ],
)
def test_another_url_is_refused(url: str, fact: str) -> None:
    with pytest.raises(CredentialsError) as raised:
        Door.parse(url)
    assert fact in raised.value.fact
    assert raised.value.hint
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://ekf.example.com", "https://ekf.example.com/"])
def test_a_url_without_a_path_suggests_one(url: str) -> None:
    with pytest.raises(CredentialsError, match=r"try https://ekf\.example\.com/kubernetes"):
        Door.parse(url)


def test_an_ipv6_address_is_shown_with_its_brackets() -> None:
    assert str(HostPort("::1", 443)) == "[::1]:443"
    assert str(HostPort("a", 443)) == "a:443"
