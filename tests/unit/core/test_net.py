"""Which hosts are addresses, and which are this machine."""

import pytest

from daypass._core.net import is_address, is_loopback


@pytest.mark.parametrize(
    ("host", "address", "loopback"),
    [
        ("localhost", False, True),
        ("127.0.0.1", True, True),
        ("127.255.0.9", True, True),
        ("::1", True, True),
        ("0:0:0:0:0:0:0:1", True, True),
        ("10.0.0.1", True, False),
        ("fd00::1", True, False),
        ("[::1]", False, False),
        ("127.0.0.1.example.com", False, False),
        ("127.0.0.256", False, False),
        ("127.1", False, False),
        ("localhost.example.com", False, False),
        ("ekf.example.com", False, False),
        ("", False, False),
    ],
)
def test_a_host_is_a_name_an_address_or_this_machine(
    host: str, address: bool, loopback: bool
) -> None:
    assert (is_address(host), is_loopback(host)) == (address, loopback)
