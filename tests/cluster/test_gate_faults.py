"""The gate of one machine while the cluster, its clock or its state folder fail. A token of a
credential that does not exist is refused, and nothing else is for longer than the failure.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.labels import POLICY, POLICY_ENFORCED
from daypass._core.secret import Secret
from daypass.rules.reasons import Reason
from support.controlplane import ControlPlane
from support.gate_differences import reason_in
from support.identities import Identity, make_look_alike, unique
from support.raw import Caller
from support.up import Up
from support.up_gate import calling, gate_up

CLOSE_AFTER_SECONDS = 10
SLACK_SECONDS = 3.0
"""For a process that is waited for, on a machine that is busy."""
HOURS = 3600
WRONG_CLOCK = """
import sys, time
from pathlib import Path
from daypass._core.clock import SystemClock
file = Path(sys.argv.pop(1))
SystemClock.unix = lambda self: time.time() + float(file.read_text() or 0)
from daypass.cli import main
raise SystemExit(main())
"""


def prepare_plane(plane: ControlPlane) -> None:
    """Its etcd is restored."""


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    return plane.make_namespace(labels={POLICY: POLICY_ENFORCED})


class Guarded:
    """A gate, and its callers on open connections, each with an identity of its own."""

    def __init__(self, up: Up, plane: ControlPlane, namespace: str, open_until: ExitStack) -> None:
        self.up = up
        self._plane = plane
        self._namespace = namespace
        self._open_until = open_until

    def add(self) -> tuple[Identity, Caller]:
        """An identity and its caller, who passes."""
        identity = self._plane.make_identity(self._namespace, unique("bot"))
        caller = self._open_until.enter_context(self.calling(identity))
        caller.becomes(200)
        return identity, caller

    def calling(self, identity: Identity) -> AbstractContextManager[Caller]:
        return calling(self.up, self._plane, identity)


Guard = Callable[..., AbstractContextManager[Guarded]]


@pytest.fixture
def guard(plane: ControlPlane, namespace: str, tmp_path: Path) -> Guard:
    @contextmanager
    def guarded(**more: Any) -> Iterator[Guarded]:
        more = {"close_after": f"{CLOSE_AFTER_SECONDS}s", **more}
        with gate_up(tmp_path, plane, **more) as up, ExitStack() as open_until:
            yield Guarded(up, plane, namespace, open_until)

    return guarded


def becomes_refused(caller: Caller, *, since: float, seconds: float) -> None:
    """It is refused so many seconds after `since` (monotonic) at the latest, for good reason."""
    answer = caller.becomes(401)
    took = SYSTEM_CLOCK.monotonic() - since
    assert reason_in(answer) is Reason.UNKNOWN_CREDENTIAL
    assert took <= seconds + SLACK_SECONDS, took


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_after_a_restore_of_etcd_only_what_exists_then_passes(
    plane: ControlPlane, guard: Guard, check: str
) -> None:
    with guard(check=check) as made:
        early, early_caller = made.add()
        revived, revived_caller = made.add()
        _, bystander = made.add()
        saved = plane.save()
        _, late_caller = made.add()
        plane.admin.delete(revived.secret_path)
        revived_caller.becomes(401)
        for _ in range(100):  # the revision of the watch is far ahead of that of the snapshot
            plane.make_namespace()
        began = SYSTEM_CLOCK.monotonic()
        plane.restore(saved)
        becomes_refused(late_caller, since=began, seconds=CLOSE_AFTER_SECONDS)
        bystander.becomes(200)
        revived_caller.becomes(200)  # at the API server, too
        early_caller.becomes(200)
        began = SYSTEM_CLOCK.monotonic()
        plane.admin.delete(early.secret_path)
        becomes_refused(early_caller, since=began, seconds=1)
        assert bystander.ask().code == 200


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_an_api_server_that_is_cut_off_from_etcd_counts_as_silent(
    plane: ControlPlane, guard: Guard, check: str
) -> None:
    """It answers from its cache, and its watches end by their timeout only."""
    with guard(check=check) as made:
        _, caller = made.add()
        with plane.child("etcd").suspended():
            began = SYSTEM_CLOCK.monotonic()
            caller.becomes(503)
            assert SYSTEM_CLOCK.monotonic() - began <= CLOSE_AFTER_SECONDS + SLACK_SECONDS
        caller.becomes(200)


@pytest.mark.parametrize("wrong_seconds", [3 * HOURS, -3 * HOURS], ids=["ahead", "behind"])
def test_a_clock_that_was_wrong_and_is_corrected_leaves_nothing_behind(
    plane: ControlPlane, guard: Guard, tmp_path: Path, wrong_seconds: float
) -> None:
    clock = tmp_path / "ahead"
    clock.write_text("0")
    with guard(program=("-c", WRONG_CLOCK, str(clock))) as made:
        before, before_caller = made.add()
        during, during_caller = made.add()
        _, bystander = made.add()
        plane.admin.delete(before.secret_path)
        before_caller.becomes(401)
        clock.write_text(str(wrong_seconds))
        # Whatever is published now has the wrong time.
        plane.admin.delete(during.secret_path)
        during_caller.becomes(401 if wrong_seconds > 0 else 503)
        clock.write_text("0")
        bystander.becomes(200)
        made.add()
        for caller in (before_caller, during_caller):
            assert reason_in(caller.becomes(401)) is Reason.UNKNOWN_CREDENTIAL


def test_a_token_bound_to_a_secret_without_the_label_is_refused(
    plane: ControlPlane, guard: Guard
) -> None:
    with guard() as made:
        identity, _ = made.add()
        bound = make_look_alike(plane.admin, identity, labels={})
        with made.calling(bound) as caller:
            made.add()  # what is newer than the Secret has been published
            assert reason_in(caller.ask()) is Reason.UNKNOWN_CREDENTIAL


def test_whatever_the_type_of_the_secret_a_token_is_refused_once_that_is_deleted(
    plane: ControlPlane, guard: Guard
) -> None:
    """A tenant with `edit` may make one, as it may make a token Secret, and gains no more by it."""
    with guard() as made:
        identity, own = made.add()
        bound = make_look_alike(plane.admin, identity)
        with made.calling(bound) as caller:
            caller.becomes(200)
            plane.admin.delete(bound.secret_path)
            assert reason_in(caller.becomes(401)) is Reason.UNKNOWN_CREDENTIAL
        assert own.ask().code == 200


def test_an_old_state_folder_lets_nothing_pass_that_was_revoked_since(
    plane: ControlPlane, guard: Guard, namespace: str, tmp_path: Path
) -> None:
    one, other = (plane.make_identity(namespace, name) for name in ("one", "other"))
    tokens: list[Secret] = []
    with guard() as made:
        for identity in (one, other):
            with made.calling(identity) as caller:
                caller.becomes(200)
                tokens.append(caller.token)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    late = plane.make_identity(namespace, "late")
    with guard() as made, made.calling(late) as caller:
        caller.becomes(200)
        tokens.append(caller.token)
        for revoked in (one, late):
            plane.admin.delete(revoked.secret_path)
        caller.becomes(401)
    for state in ("backup", "nothing"):
        shutil.rmtree(tmp_path / "state")
        if state == "backup":
            shutil.copytree(tmp_path / "backup", tmp_path / "state")
        with guard() as made, made.calling(other) as caller:
            caller.becomes(200)
            assert [caller.ask(token).code for token in tokens] == [401, 200, 401]
