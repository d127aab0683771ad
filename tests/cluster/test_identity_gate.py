"""Commands of administrators, with a watch that publishes at a gate, and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK, deadline_unix
from daypass._core.kubernetes.labels import DEADLINE, RETIRE_AFTER
from daypass.identity.credential_secrets import our_secrets
from daypass.kube.resources import ROLES, SECRETS, SERVICE_ACCOUNTS
from daypass.render.names import GATE_WATCH
from support.admin_shell import AdminShell
from support.controlplane import ControlPlane
from support.lifecycle import GATE, make
from support.messages import check, message_with
from support.watching import Watch, becomes_removed, prepare, published, watched_config

DOOR = ("--door", "https://ekf.example.com/kubernetes", "--audience", GATE)


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, watched_config())


@pytest.fixture
def watch(plane: ControlPlane, tmp_path: Path) -> Iterator[Watch]:
    """A watch that runs."""
    with Watch(tmp_path / "watch", plane, watched_config()) as running:
        running.wait_leading()
        yield running


def uids(shell: AdminShell) -> set[str]:
    """Those of the Secrets in the shell's namespace."""
    return {each.uid for each in our_secrets(shell.cluster, shell.namespace)}


def test_what_commands_create_and_delete_is_published_when_they_end(
    shell: AdminShell, plane: ControlPlane, watch: Watch
) -> None:
    assert "published after" in shell.identity("create", *DOOR)[1]
    first = uids(shell)
    assert first <= published(plane)
    assert "published after" in shell.identity("rotate", "--overlap", "0", "--force")[1]
    second = uids(shell)
    assert second <= published(plane)
    assert not first & published(plane)
    message = message_with(shell.identity("revoke", "--yes", code=3)[1], "revoked identity")
    assert not second & published(plane)
    check(message, reason="revoked", hide=r"(?<=published after )[\d.]+")
    shell.identity("create", *DOOR, "--force")
    third = uids(shell)
    shell.identity("delete", "--yes")
    assert not third & published(plane)
    assert shell.cluster.find(ROLES, GATE_WATCH, shell.namespace) is None


def test_a_fleet_is_handed_over_once_all_of_it_is_published(
    shell: AdminShell, plane: ControlPlane, watch: Watch
) -> None:
    shell.identity("create", *DOOR)
    names = [type(shell.bot)(namespace=shell.namespace, name=f"bot-{n}") for n in range(10)]
    for name in names:
        make(shell.cluster, name)
    out, err = shell.run(
        "identity", "rotate", "--all", "-n", shell.namespace, "--credentials-out", "all",
        "--overlap", "0", "-o", "json",
    )  # fmt: skip
    assert "published after" in err
    files = list((shell.folder / "all").rglob("*.json"))
    assert len(json.loads(out)["identities"]) == len(files) == 11
    assert uids(shell) <= published(plane)
    assert len(uids(shell)) == 11


def test_access_ends_at_a_deadline_without_an_event_until_it_is_moved(
    shell: AdminShell, plane: ControlPlane, watch: Watch
) -> None:
    shell.identity("create", *DOOR, "--expires", "20s")
    old = uids(shell)
    shell.identity("rotate", "--overlap", "3s", "--force")
    assert old < published(plane)
    took = {}
    for what in (SECRETS, SERVICE_ACCOUNTS):
        mark = RETIRE_AFTER if what is SECRETS else DEADLINE
        (found,) = [
            each
            for each in shell.cluster.list(what, shell.namespace)
            if mark in each["metadata"].get("annotations", {})
        ]
        ends = old if what is SECRETS else uids(shell)
        becomes_removed(plane, *ends)
        took[mark] = SYSTEM_CLOCK.unix() - deadline_unix(found["metadata"]["annotations"][mark])
    # It is one machine, with one clock; a second, and what a busy machine takes.
    assert {mark for mark, seconds in took.items() if not 0 <= seconds < 3} == set()
    shell.identity("create", *DOOR, "--expires", "1d", "--force")
    (current,) = uids(shell) - old
    assert uids(shell) & published(plane) == {current}


def test_a_namespace_has_room_for_as_many_credentials_as_the_gate_publishes(
    shell: AdminShell, plane: ControlPlane, tmp_path: Path
) -> None:
    config = watched_config(credentialsPerNamespace="1")
    with Watch(tmp_path / "watch", plane, config) as watch:
        watch.wait_leading()
        shell.identity("create", *DOOR)
        before = uids(shell)
        err = shell.identity("rotate", "--force", code=1)[1]
        check(message_with(err, "watch.credentialsPerNamespace"), reason="no-room")
    assert uids(shell) == before
