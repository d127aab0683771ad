"""Whose address the door takes a request for behind proxies: upstream, in its log, by its rates."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daypass.config.settings import Limits
from support.deadline import eventually
from support.doors import (
    DoorEnv,
    access_log,
    assert_refused,
    http2_fields,
    post,
    running_door_env,
    send_http2,
)

HOPS = (1, 2, 3)
PEER = "127.0.0.1"
LISTS = {
    "none": (),
    "empty": ("",),
    "one": ("203.0.113.1",),
    "three": ("203.0.113.1,203.0.113.2 ,\t203.0.113.3",),
    "four": ("6.6.6.6, 203.0.113.1, 203.0.113.2, 203.0.113.3",),
    "on three lines": ("203.0.113.1", "203.0.113.2", "203.0.113.3"),
    "on lines of several": ("6.6.6.6, 203.0.113.1", "203.0.113.2", "203.0.113.3"),
    "an empty line between": ("203.0.113.1", "", "203.0.113.3"),
    "an empty element": ("203.0.113.1, , 203.0.113.3",),
    "junk last": ("203.0.113.9, junk",),
    "two of IPv6": ("2001:db8::9, 2001:db8::7",),
    "IPv6": ("2001:db8::1, 2001:DB8:0::2, 2001:0DB8::0003",),
    "IPv6 in brackets": ("[2001:db8::1], [2001:db8::2]:443, [2001:db8::3]",),
    "with ports": ("203.0.113.1:80, 203.0.113.2:443, 203.0.113.3:1",),
    "numbers": ("1, 0x7f000001, 2130706433",),
    "loopback claimed": ("127.0.0.1, ::1, 127.0.0.2",),
    "quoted": ('"203.0.113.1", "203.0.113.2", for=203.0.113.3',),
    "bytes beyond ASCII": ("203.0.113.1\xa0, \xe9, 203.0.113.3",),
    "hundreds": (", ".join(f"198.51.100.{number % 256}" for number in range(900)),),
    "a hundred lines": tuple(f"198.51.100.{number}" for number in range(100)),
}


@pytest.fixture(scope="module", params=(0, *HOPS))
def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, DoorEnv]]:
    folder: Path = tmp_path_factory.mktemp("hops")
    with running_door_env(
        folder, change=lambda settings: replace(settings, trusted_hops=request.param)
    ) as env:
        yield request.param, env


def client(lines: tuple[str, ...], hops: int) -> str:
    """What the outermost trusted proxy saw: the last but `hops - 1`; the peer without that."""
    if not hops:
        return PEER
    entries = ",".join(line for line in lines if line).split(",")
    try:
        return str(ipaddress.ip_address(entries[-hops].strip(" \t")))
    except (ValueError, IndexError):
        return PEER


def sent(lines: tuple[str, ...], name: str = "x") -> bytes:
    """A request with these lists, which the log calls `name`."""
    return post(extra=(*(f"X-Forwarded-For: {line}" for line in lines), f"X-Request-Id: {name}"))


def test_upstream_and_log_have_the_address_that_the_outermost_trusted_proxy_saw(
    behind: tuple[int, DoorEnv],
) -> None:
    hops, env = behind
    expected = {name.replace(" ", "-"): client(lines, hops) for name, lines in LISTS.items()}
    upstream = {}
    for name, lines in LISTS.items():
        (arrived,) = env.send(sent(lines, name.replace(" ", "-"))).arrived
        upstream[name.replace(" ", "-")] = arrived.header("x-forwarded-for")
    assert upstream == expected

    def logged() -> dict[str, object] | None:
        lines = {str(line["request_id"]): line["client"] for line in access_log(env.door.folder)}
        found = {name: lines[name] for name in expected if name in lines}
        return found if len(found) == len(expected) else None

    assert eventually("all are logged", logged, seconds=60) == expected


@pytest.fixture(scope="module", params=HOPS)
def limited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, DoorEnv]]:
    rates = Limits(per_source_per_second=3, requests_per_second=1000)
    with running_door_env(
        tmp_path_factory.mktemp("limited"),
        change=lambda s: replace(s, rate_limits=rates, trusted_hops=request.param),
    ) as env:
        yield request.param, env


def test_what_a_client_claims_makes_it_no_other_source(
    limited: tuple[int, DoorEnv],
) -> None:
    """The proxies append what they saw; all before that is the client's to invent."""
    hops, env = limited
    seen = ", ".join(["203.0.113.7", "10.0.0.1", "10.0.0.2"][:hops])
    invented = [
        *(f"198.51.100.{number}" for number in range(30)),
        *(", ".join(["198.51.100.1"] * number) for number in range(1, 10)),
    ]
    answers = env.send_each(sent((f"{each}, {seen}",)) for each in invented)
    refused = [answer for answer in answers if answer.code != 201]
    assert len(refused) > len(invented) // 2
    assert_refused(refused[0], 429)
    # Another client of the same proxies still has its own rate.
    other = seen.replace("203.0.113.7", "203.0.113.8")
    assert env.door.send(sent((other,))).code == 201


def test_whatever_is_no_address_is_one_source_together(
    limited: tuple[int, DoorEnv],
) -> None:
    """The door's peer is the client then, and has one rate."""
    hops, env = limited
    lists = [", ".join([f"junk{number}", *["x"] * (hops - 1)]) for number in range(30)]
    answers = env.send_each(sent((each,)) for each in lists)
    assert [answer.code for answer in answers].count(429) > 15


def test_lists_of_http_2_are_read_alike(behind: tuple[int, DoorEnv]) -> None:
    hops, env = behind
    for lines in (LISTS["on three lines"], LISTS["on lines of several"], LISTS["two of IPv6"]):
        fields = http2_fields(*(("x-forwarded-for", line) for line in lines))
        trailers = (("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "6.6.6.6"))
        for more in ((), trailers):
            reply, arrived = send_http2(env, fields, trailers=more)
            assert [each.header("x-forwarded-for") for each in arrived] == (
                [client(lines, hops)] if reply.code == 201 else []
            )
            assert reply.code == 201 or more


def test_a_list_beyond_the_headers_limit_is_refused(behind: tuple[int, DoorEnv]) -> None:
    _, env = behind
    env.assert_refuses(sent((", ".join(["203.0.113.1"] * 2000),)), 431)


def test_no_other_header_says_who_the_client_is(behind: tuple[int, DoorEnv]) -> None:
    _, env = behind
    claims = ("Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6",
              "X-Envoy-External-Address: 6.6.6.6", "X-Forwarded-For : 6.6.6.6")  # fmt: skip
    for claim in claims[:-1]:
        (arrived,) = env.send(post(extra=(claim,))).arrived
        assert arrived.header("x-forwarded-for") == PEER
        assert b"6.6.6.6" not in arrived.raw
    assert env.send(post(extra=claims[-1:])).arrived == ()
