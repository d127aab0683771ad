"""The gate of `daypass up` knows which credentials exist in a real cluster, after a restart and on
open connections too.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daypass._core.kubernetes.labels import POLICY
from daypass._core.secret import Secret
from daypass.cli import main
from daypass.rules.reasons import Reason
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import FORGERIES, assert_passed_as, assert_refused, reason_in
from support.identities import Identity, make_anchor, make_pod
from support.raw import Answer, Caller, bearer, exchange, get
from support.up import HOST, Up
from support.up_gate import AUDIENCE, calling, calling_with, gate_up

CHECKS = ("jwt", "review")
CLOSE_AFTER_SECONDS = 10


@pytest.fixture(scope="module")
def watching(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with gate_up(tmp_path_factory.mktemp("gate"), control_plane) as up:
        yield up


@pytest.mark.parametrize("check", CHECKS)
def test_what_exists_passes_and_what_is_gone_is_refused_through_restarts_and_failures(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    plane, folder = control_plane, tmp_path_factory.mktemp("up")  # short: a socket is in it
    closing = f"{CLOSE_AFTER_SECONDS}s"
    gone, later, other = (plane.make_identity() for _ in range(3))
    tokens = [plane.make_token(each, audiences=[AUDIENCE]) for each in (gone, later, other)]

    def reasons(caller: Caller) -> list[Reason]:
        return [reason_in(caller.ask(token)) for token in tokens]

    refused, good, closed = Reason.UNKNOWN_CREDENTIAL, Reason.ALLOWED, Reason.UNKNOWN
    # 1. It exists, and passes; its Secret is deleted, and it is refused.
    with (
        gate_up(folder, plane, check=check, close_after=closing) as up,
        calling(up, plane, other) as caller,
    ):
        assert reasons(caller) == [good, good, good]
        plane.admin.delete(gone.secret_path)
        eventually("it is refused", lambda: reasons(caller) == [refused, good, good])
    # 2. Another one is deleted meanwhile; a new machine knows both from its first request on.
    plane.admin.delete(later.secret_path)
    shutil.rmtree(folder / "state")
    with (
        gate_up(folder, plane, check=check, close_after=closing) as up,
        calling(up, plane, other) as caller,
    ):
        assert reasons(caller) == [refused, refused, good]
        # 3. Nothing is seen any more, and everything is refused in time.
        with plane.child("kube-apiserver").suspended():
            assert reasons(caller)[2] is good
            eventually("it is closed", lambda: reasons(caller) == [closed, closed, closed])
            up.wait_for_words("refuses every token")
        # 4. And passes again.
        eventually("it is open", lambda: reasons(caller) == [refused, refused, good])
        up.wait_for_words("is open again")


@pytest.mark.parametrize("check", CHECKS)
def test_nobody_claims_to_be_another_caller_and_no_log_has_a_token(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    identity = control_plane.make_identity()
    line = bearer(control_plane.make_token(identity, audiences=[AUDIENCE]))
    with gate_up(tmp_path_factory.mktemp("up"), control_plane, check=check) as up:

        def send(*headers: str) -> Answer:
            with up.connect("gate") as connection:
                return exchange(connection, get(*headers, host=HOST))

        eventually("it passes", lambda: send(line).code == 200)
        for forged in ((), *FORGERIES):
            assert_passed_as(send(line, *forged), identity.user)
        assert_refused(send(line, "Connection: close, authorization"), Reason.NO_TOKEN)
        assert_refused(send(bearer(identity.token)), Reason.LONG_LIVED)
        logs = [*up.runtime.glob("*/envoy.log"), *up.runtime.glob("*/gate-audit.log")]
        assert len(logs) == 1 + (check == "review")
        for log in logs:
            eventually("it is logged", lambda log=log: identity.user in log.read_text(), seconds=60)  # type: ignore[misc]
        said = "".join([*(log.read_text() for log in logs), up.words])
        assert line.rpartition(".")[2] not in said
        assert [log.stat().st_mode & 0o077 for log in logs[1:]] == [0] * len(logs[1:])


@pytest.mark.parametrize("check", CHECKS)
def test_a_token_bound_to_the_secret_of_another_identity_is_refused_before_and_after_a_revocation(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    """Of long-lived tokens, and of anchors. No policy is there to refuse to issue it."""
    plane = control_plane
    namespace = plane.make_identity().namespace
    both = [plane.make_identity(namespace, name) for name in ("ann", "ben")]
    both += [make_anchor(plane.admin, each) for each in both]
    tokens = {
        (number, of): plane.make_token(one.bound_to(other), audiences=[AUDIENCE])
        for number, one in enumerate(both)
        for of, other in enumerate(both)
    }
    with gate_up(tmp_path_factory.mktemp("up"), plane, check=check) as up:

        def passing() -> set[tuple[int, int]]:
            """Whose tokens, bound to whose Secret."""
            found = set()
            for pair, token in tokens.items():
                with calling_with(up, token) as caller:
                    reason = reason_in(caller.ask())
                assert reason in (Reason.ALLOWED, Reason.UNKNOWN_CREDENTIAL)
                found |= {pair} if reason is Reason.ALLOWED else set()
            return found

        ann, ben = {(0, 0), (0, 2), (2, 0), (2, 2)}, {(1, 1), (1, 3), (3, 1), (3, 3)}
        eventually("each passes with its own", lambda: passing() == ann | ben)
        plane.admin.delete(both[0].secret_path)
        eventually("ann has her anchor", lambda: passing() == {(0, 2), (2, 2)} | ben)
        plane.admin.delete(both[2].secret_path)
        eventually("ann has nothing", lambda: passing() == ben)
        plane.admin.delete(f"{both[0].token_path.removesuffix('/token')}")
        assert passing() == ben


@pytest.mark.parametrize("check", CHECKS)
def test_tokens_that_are_bound_to_no_secret_pass_while_their_account_exists(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    """With `boundTo: [Secret, none]`. A Pod's token is bound to something else."""
    admin, folder = control_plane.admin, tmp_path_factory.mktemp("up")
    watched, unwatched = control_plane.make_identity(), control_plane.make_identity()
    label = {"metadata": {"labels": {POLICY: None}}}
    admin.patch(f"/api/v1/namespaces/{unwatched.namespace}", label)
    more = ", boundTo: [Secret, none]"

    def of_pod(identity: Identity) -> Secret:
        name = "pod"
        uid = make_pod(admin, identity.namespace, name, service_account=identity.service_account)
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        spec = {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
        return Secret(admin.create(identity.token_path, {"spec": spec})["status"]["token"])

    def unbound(identity: Identity) -> Secret:
        return control_plane.make_token(identity, audiences=[AUDIENCE], bound=False)

    with (
        gate_up(folder, control_plane, check=check, more=more) as up,
        calling(up, control_plane, watched) as caller,
    ):
        caller.becomes(200)
        tokens = [make(each) for each in (watched, unwatched) for make in (of_pod, unbound)]
        refused = [Reason.UNBOUND, Reason.UNKNOWN_CREDENTIAL]
        passed = [Reason.UNBOUND, Reason.ALLOWED]
        assert [reason_in(caller.ask(token)) for token in tokens] == [*passed, *refused]
        account = f"/api/v1/namespaces/{watched.namespace}/serviceaccounts"
        admin.delete(f"{account}/{watched.service_account}")
        eventually(
            "they are refused",
            lambda: [reason_in(caller.ask(token)) for token in tokens] == [*refused, *refused],
        )


@pytest.fixture
def commands(
    control_plane: ControlPlane, tmp_path: Path, watching: Up, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`daypass gate` with the config of the gate and an admin's kubeconfig."""

    def run(command: str, token: Secret, *arguments: str) -> tuple[int, str, str]:
        file = tmp_path / "token"
        file.write_text(token.reveal())
        code = main([
            "gate", command, "--config", str(watching.config_file), "--token-file", str(file),
            "--kubeconfig", str(control_plane.kubeconfig), *arguments,
        ])  # fmt: skip
        captured = capsys.readouterr()
        assert token.reveal() not in captured.out + captured.err
        return code, captured.out, captured.err

    return run


def test_a_manual_denial_holds_until_it_is_undone(
    watching: Up, control_plane: ControlPlane, commands: Callable[..., tuple[int, str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    identity = control_plane.make_identity()
    explaining = ("--host", HOST, "--output", "json")
    with (
        calling(watching, control_plane, identity) as caller,
        calling(watching, control_plane, identity) as sibling,
    ):
        caller.becomes(200)
        code, out, _ = commands("explain", caller.token, *explaining)
        assert (code, json.loads(out)["reason"], json.loads(out)["user"]) == (
            0, "allowed", identity.user,
        )  # fmt: skip
        code, _, err = commands("deny", caller.token)
        assert code == 0
        caller.becomes(401)
        assert sibling.ask().code == 200
        undo = shlex.split(err[err.index("daypass gate ") :])
        assert undo[0] == "daypass"
        assert main(undo[1:]) == 0
        caller.becomes(200)
