"""Hosts and ports: which hosts are addresses or this machine, and how they are written."""

import pytest

from daypass._core.net import bracketed, is_address, is_loopback, parse_listen


@pytest.mark.parametrize(
    ("host", "address", "loopback"),
    [
        ("localhost", False, True),
        ("127.0.0.1", True, True),
        ("127.255.0.9", True, True),
        ("::1", True, True),
        ("10.0.0.1", True, False),
        ("[::1]", False, False),
        ("127.0.0.1.example.com", False, False),
        ("127.1", False, False),
        ("localhost.example.com", False, False),
    ],
)
def test_a_host_is_a_name_an_address_or_this_machine(
    host: str, address: bool, loopback: bool
) -> None:
    assert (is_address(host), is_loopback(host)) == (address, loopback)


def test_an_ipv6_address_is_put_in_brackets() -> None:
    assert [*map(bracketed, ("::1", "127.0.0.1", "a.b"))] == ["[::1]", "127.0.0.1", "a.b"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9443", ("127.0.0.1", 9443)),
        ("[::1]:0", ("::1", 0)),
        (":9004", ("", 9004)),
        ("9004", None),
        ("a:65536", None),
        ("a:", None),
    ],
)
def test_an_address_to_listen_on_is_a_host_and_a_port(
    text: str, address: tuple[str, int] | None
) -> None:
    assert parse_listen(text) == address
