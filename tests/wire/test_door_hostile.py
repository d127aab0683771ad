"""Thousands of hostile requests: what arrives is an exact TokenRequest, or nothing does.

What makes a run pass is not the answers but what arrives behind the door: each with the token and
the body of the request it was made from, as many as were answered with 201.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pytest

from daypass.config.exposure import REQUEST_HEADERS
from daypass.render.envoy.settings import Timeouts
from support.doors import DoorEnv, post, running_door_env
from support.hostile_requests import Attempt, hostile_requests, token_of
from support.raw import Conversation, Reconnecting
from support.recorder import Recorded

CONNECTIONS = 4
FOLLOWER = post("/kubernetes/api/v1/namespaces/daypass/serviceaccounts/follower/token")
PADDING = b"x" * 20_000
"""More than a header block or a body may hold: whatever a request has left open ends with it."""
SKIPPED = bytes(range(0x21))
"""What a parser may take for the end or the middle of a value: controls and white space."""


IMPATIENT = Timeouts(request_headers_seconds=2, request_seconds=2)
"""For requests that never end, for which the door usually waits 5 or 10 s."""


def impatient_door(folder: Path, timeouts: Timeouts = IMPATIENT) -> AbstractContextManager[DoorEnv]:
    return running_door_env(folder, change=lambda s: replace(s, timeouts=timeouts))


def run(env: DoorEnv, count: int, seed: int) -> tuple[list[str], Counter[int]]:
    """Send so many hostile requests, and return what is wrong with what arrived, and how often each
    code was the answer.
    """
    attempts = [*islice(hostile_requests(seed), count)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        parts = [attempts[i::CONNECTIONS] for i in range(CONNECTIONS)]
        codes = Counter(chain.from_iterable(threads.map(partial(sent, env), parts)))
    arrived = env.settled()
    faults = [*faults_of(attempts, arrived)]
    if len(arrived) != codes[201]:
        faults.append(f"{len(arrived)} arrived, {codes[201]} were answered 201")
    return faults, codes


def sent(env: DoorEnv, attempts: Iterable[Attempt]) -> list[int]:
    """The codes of all answers. What is not whole is followed by a good request and then by more
    than anything can hold, and all there is to read is read.
    """
    codes = []
    with closing(Reconnecting(env.door.connect)) as asking:
        for attempt in attempts:
            if attempt.whole:
                codes.append(asking.ask(attempt.raw).code)
                continue
            with env.door.connect() as connection:
                conversation = Conversation(connection)
                conversation.send(attempt.raw + FOLLOWER + PADDING)
                answer = conversation.answer(head=attempt.raw.lstrip().startswith(b"HEAD "))
                codes.append(answer.code)
                while not answer.closes:
                    answer = conversation.answer()
                    codes.append(answer.code)
    return codes


def faults_of(attempts: list[Attempt], arrived: Iterable[Recorded]) -> Iterator[str]:
    """What arrived and should not have, or as something else than what was sent."""
    by_token = {f"Bearer {token_of(attempt.number)}": attempt for attempt in attempts}
    everything = b"".join([*(each.raw for each in attempts), FOLLOWER]).translate(None, SKIPPED)
    for recorded in arrived:
        yield from (f"{fault} in {recorded.raw!r}" for fault in recorded.faults())
        authorization = recorded.header("authorization") or ""
        if authorization.encode("latin-1").translate(None, SKIPPED) not in everything:
            yield f"an authorization that was not sent in {recorded.raw!r}"
        attempt = by_token.get(authorization)
        if attempt and attempt.whole and recorded.body != attempt.body:
            yield f"another body than that of {attempt.raw!r} in {recorded.raw!r}"


def test_of_thousands_of_hostile_requests_only_exact_ones_arrive(tmp_path: Path) -> None:
    with impatient_door(tmp_path) as env:
        faults, codes = run(env, 3_000, seed=20_210_629)
        assert env.arrived() == (), "nothing arrives late"
    assert faults == []
    # Some are exact in spite of being bent, so a run also tells that the door is open.
    assert 0.1 < codes[201] / 3_000 < 0.5
    assert {400, 401, 403, 404, 405, 413, 415, 426, 431, 501} <= codes.keys()


@pytest.mark.parametrize(
    ("hole", "value"),
    [
        ("render.envoy.upstream.REQUEST_HEADERS", (*REQUEST_HEADERS, "impersonate-user")),
        ("render.envoy.door_routes.BEARER_JWT", "(?i)bearer .*"),
        ("render.envoy.door_routes.MEDIA_TYPE", ".*"),
        ("config.exposure.LABEL", "[^/]+"),
    ],
)
def test_a_door_with_a_hole_is_told_from_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hole: str, value: object
) -> None:
    """Otherwise a run without faults would say nothing."""
    monkeypatch.setattr(f"daypass.{hole}", value)
    with impatient_door(tmp_path, replace(IMPATIENT, close_seconds=0.05)) as env:
        assert run(env, 600, seed=1)[0] != []
