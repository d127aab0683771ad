"""HTTP/2 floods: what costs a client nothing must not cost the door much: it ends the connection,
and serves on (`arrived` asks it to).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from support.doors import DoorEnv, http2, http2_fields


def flood(env: DoorEnv, frames: Iterator[Frame]) -> None:
    """Send frames until the door ends the connection, which it must before they are all out."""
    with http2(env) as client:
        while not client.closed:
            batch = [*itertools.islice(frames, 200)]
            assert batch, "the door took them all"
            client.send_raw(*batch)
    assert env.arrived() == ()


def test_endless_continuations(env: DoorEnv) -> None:
    """CVE-2024-30255: a header block that never ends."""
    with http2(env) as client:
        block = client.encode(http2_fields(("x", "y" * 10_000)))
    start = HeadersFrame(1, block[:100])
    more = ContinuationFrame(1, b"\x00\x01x\x01y" * 2_000)
    flood(env, itertools.chain([start], itertools.repeat(more, 10_000)))


def test_streams_reset_as_soon_as_they_are_open(env: DoorEnv) -> None:
    """CVE-2023-44487: rapid reset."""
    with http2(env) as client:
        block = client.encode(http2_fields())
    frames: Iterator[Frame] = itertools.chain.from_iterable(
        (HeadersFrame(i, block, flags=["END_HEADERS"]), RstStreamFrame(i, error_code=8))
        for i in range(1, 20_000, 2)
    )
    flood(env, frames)


def test_pings(env: DoorEnv) -> None:
    """CVE-2019-9512: each asks for an answer that is not read."""
    flood(env, itertools.repeat(PingFrame(0, b"12345678"), 1_000_000))


def test_empty_data(env: DoorEnv) -> None:
    """CVE-2019-9518: frames that move nothing."""
    with http2(env) as client:
        block = client.encode(http2_fields())
    start = HeadersFrame(1, block, flags=["END_HEADERS"])
    flood(env, itertools.chain([start], itertools.repeat(DataFrame(1), 100_000)))


def test_settings(env: DoorEnv) -> None:
    """CVE-2019-9515: each asks for an acknowledgement."""
    flood(env, itertools.repeat(SettingsFrame(0), 1_000_000))
