"""HTTPS_PROXY and NO_PROXY: which hosts are reached through the proxy."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.net import HostPort, is_excluded, proxy_for

PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "direct"),
    [
        # curl 7.88 and Go 1.26 agree on these
        ("api.example.com", 6443, "", False),
        ("api.example.com", 6443, "other.com, example.com", True),
        ("api.example.com", 6443, "API.example.com", True),
        ("api.example.com.", 6443, "example.com", True),
        ("example.com", 443, "ample.com", False),
        ("example.com", 443, "api.example.com", False),
        ("example.com", 443, "*", True),
        ("10.1.2.3", 6443, "10.1.2.3", True),
        ("10.1.2.3", 6443, "10.0.0.0/33", False),
        # as curl
        ("example.com", 443, ".example.com", True),
        ("example.com", 443, "other.com example.com", True),
        # as Go
        ("127.0.0.1", 6443, "", True),
        ("localhost", 6443, "", True),
        ("::ffff:127.0.0.1", 6443, "", True),
        ("example.com", 443, "other.com,*", True),
    ],
)
def test_hosts_in_no_proxy_and_loopback_are_reached_directly(
    host: str, port: int, no_proxy: str, direct: bool
) -> None:
    found = proxy_for(HostPort(host, port), {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert found == (None if direct else PROXY)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": "proxy.test:3128"}, PROXY),
        ({"HTTPS_PROXY": "http://other.test:1", "https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY, "https_proxy": ""}, PROXY),
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "other.test", "NO_PROXY": "api.test"}, PROXY),
    ],
)
def test_a_variable_in_lower_case_takes_precedence_unless_it_is_empty(
    environ: dict[str, str], expected: str | None
) -> None:
    assert proxy_for(HostPort("api.test", 443), environ) == expected


NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
).map(lambda pair: ip_network(pair, strict=False))


@given(address=st.ip_addresses(), network=NETWORKS, inside=st.integers(0))
def test_a_range_excludes_exactly_the_addresses_in_it(
    address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network, inside: int
) -> None:
    for each in (address, network[inside % network.num_addresses]):
        plain = getattr(each, "ipv4_mapped", None) or each
        assert is_excluded(HostPort(str(each), 443), f"x, {network}") is (plain in network)


@given(
    host=st.sampled_from(["api.example.com", "com", "10.1.2.3", "fd00::1", ""]),
    no_proxy=st.text(alphabet="*.,:/[] %\x00acemoplx0123", max_size=20) | st.text(max_size=20),
)
def test_any_text_is_read_and_unrelated_text_excludes_nothing(host: str, no_proxy: str) -> None:
    if is_excluded(HostPort(host, 443), no_proxy):
        assert "*" in no_proxy or any(part in no_proxy.lower() for part in ("com", "/", "10", "::"))
