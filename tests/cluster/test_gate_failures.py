"""The gate of one machine where nothing new can reach it: it closes by Envoy's own clock."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from support.controlplane import ControlPlane
from support.deadline import eventually
from support.messages import check
from support.raw import Caller
from support.up import Up
from support.up_gate import calling, gate_up

CLOSE_AFTER_SECONDS = 10
CHECKS = pytest.mark.parametrize("check", ["jwt", "review"])


@pytest.fixture
def up(
    control_plane: ControlPlane, check: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")  # short: a socket is in it
    closing = f"{CLOSE_AFTER_SECONDS}s"
    with gate_up(folder, control_plane, check=check, close_after=closing) as running:
        yield running


class Callers(NamedTuple):
    """Two callers whom the gate has let pass; `revoke` deletes the Secret of one of them."""

    revoked: Caller
    other: Caller
    revoke: Callable[[], None]

    def become(self, revoked: int, other: int) -> None:
        self.revoked.becomes(revoked)
        self.other.becomes(other)


@pytest.fixture
def callers(up: Up, control_plane: ControlPlane) -> Iterator[Callers]:
    one, two = control_plane.make_identity(), control_plane.make_identity()
    with calling(up, control_plane, one) as revoked, calling(up, control_plane, two) as other:
        made = Callers(revoked, other, lambda: control_plane.admin.delete(one.secret_path))
        made.become(200, 200)
        yield made


def reported(up: Up, since: int, what: str = " gate ") -> str:
    """The first line with these words that it has printed since then; by default, of the gate."""

    def line() -> str | None:
        lines = up.words[since:].splitlines(keepends=True)
        return next((each for each in lines if what in each and each.endswith("\n")), None)

    return eventually("it is reported", line)


def limit_files(pid: int, size: int) -> None:
    """Let a process write files of this size at most, as on a disk without room."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@CHECKS
def test_a_gate_whose_process_is_stopped_closes_and_opens_again(up: Up, callers: Callers) -> None:
    up.process.send_signal(signal.SIGSTOP)
    try:
        callers.revoke()
        callers.become(503, 503)
    finally:
        up.process.send_signal(signal.SIGCONT)
    callers.become(401, 200)


@CHECKS
def test_a_gate_without_room_to_write_closes_and_opens_again(up: Up, callers: Callers) -> None:
    before = len(up.words)
    limit_files(up.process.pid, 0)
    callers.revoke()
    callers.become(503, 503)
    check(reported(up, before, "refuses every token"), reason="closed")
    before = len(up.words)
    limit_files(up.process.pid, resource.RLIM_INFINITY)
    callers.become(401, 200)
    check(reported(up, before, "is open again"), reason="open")


@CHECKS
def test_a_gate_whose_runtime_folder_is_gone_closes_and_reports_it_once(
    up: Up, callers: Callers, check: str
) -> None:
    (runtime,) = up.runtime.iterdir()
    away = up.folder / "away"
    before = len(up.words)
    runtime.rename(away)
    callers.revoke()
    if check == "review":  # connections to the authorizer that are open go on
        callers.revoked.becomes(401)
    else:
        callers.become(503, 503)
        assert reported(up, before)
    lines = [line.split("daypass: ")[-1] for line in up.words.splitlines()]
    assert len(lines) == len(set(lines)), up.words
    away.rename(runtime)
    callers.become(401, 200)
