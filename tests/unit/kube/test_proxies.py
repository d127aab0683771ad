"""HTTPS_PROXY and NO_PROXY as kubectl reads them."""

from __future__ import annotations

import pytest

from daypass.kube.connection import proxy_of

PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("server", "no_proxy", "direct"),
    [
        ("https://api.example.com:6443", "", False),
        ("https://api.example.com:6443", "other.com, example.com", True),
        ("https://api.example.com:6443", ".example.com", True),
        ("https://example.com", ".example.com", False),
        ("https://example.com", "*.example.com", True),
        ("https://example.com", "ample.com", False),
        ("https://api.example.com:6443", "API.example.com:6443", True),
        ("https://api.example.com:6443", "api.example.com:443", False),
        ("https://api.example.com", "*", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", True),
        ("https://11.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "10.1.2.3", True),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://127.0.0.1:6443", "", True),
        ("https://[::1]:6443", "", True),
        ("https://localhost:6443", "", True),
    ],
)
def test_hosts_in_no_proxy_and_loopback_are_reached_directly(
    server: str, no_proxy: str, direct: bool
) -> None:
    found = proxy_of(server, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert found == (None if direct else PROXY)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": "proxy.test:3128"}, PROXY),
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "api.test"}, None),
    ],
)
def test_the_proxy_variables_are_those_of_go(environ: dict[str, str], expected: str | None) -> None:
    assert proxy_of("https://api.test", environ) == expected
