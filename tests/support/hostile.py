"""A run of many hostile requests through a door.

What makes a run pass is not the answers but what arrives behind the door: exact TokenRequests and
nothing else, each with the token and the body of the request it was made from, as many as were
answered with 201.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice

from support.doors import Door, DoorEnv, post
from support.hostile_requests import Attempt, hostile_requests, token_of
from support.raw import Answer, parse_answer
from support.recorder import Recorded, Recorder


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of a run: `faults` is empty, or the run has failed."""

    sent: int = 0
    arrived: int = 0
    connections: int = 0
    seconds: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.sent / self.seconds


BATCH = 1000
CONNECTIONS = 4
_FOLLOWER = post("/kubernetes/api/v1/namespaces/daypass/serviceaccounts/follower/token")
_PADDING = b"x" * 20_000
"""More than a header block or a body may hold: whatever a request has left open ends with it."""
_SKIPPED = bytes(range(0x21))
"""What a parser may take for the end or the middle of a value: controls and white space."""


def run_hostile(door: Door, recorder: Recorder, count: int, seed: int) -> Report:
    """Send `count` hostile requests and compare what arrives with what was sent.

    The door has one worker and no rate limits, and the recorder answers 201. Reproducible: the
    same seed, the same requests.
    """
    report = Report()
    env = DoorEnv(door=door, recorder=recorder)
    env.arrived()
    started = time.perf_counter()
    attempts = islice(hostile_requests(seed), count)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(_Wire(door, report)) for _ in range(CONNECTIONS)]
        threads = stack.enter_context(ThreadPoolExecutor(CONNECTIONS))
        while batch := [*islice(attempts, BATCH)]:
            parts = [batch[i::CONNECTIONS] for i in range(CONNECTIONS)]
            answers = Counter(chain.from_iterable(threads.map(_Wire.send_all, wires, parts)))
            arrived = env.settled()
            if len(arrived) != answers[201]:
                report.faults.append(f"{len(arrived)} arrived, {answers[201]} were answered 201")
            report.faults.extend(_faults(batch, arrived))
            report.sent += len(batch)
            report.arrived += len(arrived)
            report.answers.update(answers)
    report.seconds = time.perf_counter() - started
    return report


def _faults(batch: list[Attempt], arrived: Iterable[Recorded]) -> Iterator[str]:
    """What arrived and should not have, or as something else than what was sent."""
    by_token = {f"Bearer {token_of(attempt.number)}": attempt for attempt in batch}
    everything = b"".join([*(attempt.raw for attempt in batch), _FOLLOWER]).translate(
        None, _SKIPPED
    )
    for recorded in arrived:
        yield from (f"{fault} in {recorded.raw!r}" for fault in recorded.faults())
        authorization = recorded.header("authorization") or ""
        if authorization.encode("latin-1").translate(None, _SKIPPED) not in everything:
            yield f"an authorization that was not sent in {recorded.raw!r}"
        attempt = by_token.get(authorization)
        if attempt and attempt.whole and recorded.body != attempt.body:
            yield f"another body than that of {attempt.raw!r} in {recorded.raw!r}"


class _Wire:
    """A connection to the door, and a new one after each that has ended."""

    def __init__(self, door: Door, report: Report) -> None:
        self._door = door
        self._report = report
        self._connection: ssl.SSLSocket | None = None

    def __enter__(self) -> _Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def send_all(self, attempts: Iterable[Attempt]) -> list[int]:
        return [answer.code for attempt in attempts for answer in self.send(attempt)]

    def send(self, attempt: Attempt) -> list[Answer]:
        """All answers to an attempt: one, if it is whole; else it is followed by a good request
        and then by more than anything can hold, and all there is to read is read.
        """
        if attempt.whole:
            return self._exchange(attempt.raw, once=True)
        answers = self._exchange(attempt.raw + _FOLLOWER + _PADDING, once=False)
        self._end()
        return answers

    def _exchange(self, data: bytes, *, once: bool) -> list[Answer]:
        connection = self._connection = self._connection or self._connect()
        answers: list[Answer] = []
        received, start, ended = b"", 0, False
        # Where it ended the connection in between, it may have answered before.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(data)
        while not (ended or (once and answers)):
            head = not answers and data.lstrip().startswith(b"HEAD ")
            parsed = parse_answer(received, start, head=head)
            if parsed is None:
                part = self._receive(connection, data)
                received, ended = received + part, not part
            else:
                answer, start = parsed
                answers.append(answer)
                ended = answer.closes
        if ended:
            self._end()
        return answers

    def _receive(self, connection: ssl.SSLSocket, sent: bytes) -> bytes:
        try:
            return connection.recv(65536)
        except TimeoutError:
            self._report.faults.append(f"{sent[:1000]!r} got no answer")
        except (ConnectionError, ssl.SSLError):
            pass
        return b""

    def _connect(self) -> ssl.SSLSocket:
        self._report.connections += 1
        return self._door.connect()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
