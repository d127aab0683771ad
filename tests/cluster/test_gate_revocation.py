"""The gate sees what is revoked in a real cluster, also on connections opened before."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daypass._core.reasons import MESSAGES, Reason
from daypass._core.secret import Secret
from daypass.cli import main
from support.clusters import write_kubeconfig
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import told
from support.messages import check, message_with
from support.up import HOST, Up
from support.up_gate import AUDIENCE, calling, gate_up


@pytest.fixture(scope="module")
def watching(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("gate")
    with gate_up(folder, control_plane, "--kubeconfig", str(control_plane.kubeconfig)) as up:
        yield up


def test_a_deleted_secret_closes_the_gate_on_an_open_connection(
    watching: Up, control_plane: ControlPlane
) -> None:
    one, other = control_plane.make_identity(), control_plane.make_identity()
    with (
        calling(watching, control_plane, one) as caller,
        calling(watching, control_plane, other) as bystander,
    ):
        assert (caller.ask().code, bystander.ask().code) == (200, 200)
        control_plane.admin.delete(one.secret_path)
        assert told(caller.becomes(401)) is Reason.DENIED
        assert bystander.ask().code == 200


def test_a_recreated_service_account_is_another_one(
    watching: Up, control_plane: ControlPlane
) -> None:
    identity = control_plane.make_identity()
    path = f"/api/v1/namespaces/{identity.namespace}/serviceaccounts/{identity.service_account}"
    with calling(watching, control_plane, identity) as caller:
        assert caller.ask().code == 200
        control_plane.admin.delete(path)
        caller.becomes(401)
        again = control_plane.make_identity(identity.namespace, identity.service_account)
        with calling(watching, control_plane, again) as newcomer:
            newcomer.becomes(200)
        assert caller.ask().code == 401


def test_a_deletion_while_the_gate_was_down_is_noticed(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    identity = control_plane.make_identity()
    arguments = ("--kubeconfig", str(control_plane.kubeconfig))
    with (
        gate_up(tmp_path, control_plane, *arguments) as up,
        calling(up, control_plane, identity) as caller,
    ):
        assert caller.ask().code == 200
        token = caller.token
        record = Path(up.authority_file).parent / "revocations.json"
        eventually("the Secret is kept as known", lambda: identity.secret_uid in record.read_text())
    control_plane.admin.delete(identity.secret_path)
    bystander = control_plane.make_identity()
    with (
        gate_up(tmp_path, control_plane, *arguments) as up,
        calling(up, control_plane, bystander) as caller,
    ):
        assert caller.ask().code == 200
        caller.token = token
        assert told(caller.ask()) is Reason.DENIED


def test_without_its_state_folder_what_was_revoked_while_the_gate_was_down_is_refused(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """As a container without a volume loses it at each restart."""
    one, other = control_plane.make_identity(), control_plane.make_identity()
    arguments = ("--kubeconfig", str(control_plane.kubeconfig))

    def codes(up: Up, *tokens: Secret) -> list[int]:
        """Once it is open: it is closed until the second of its start is over."""
        with calling(up, control_plane, other) as caller:

            def asked() -> list[int] | None:
                found = [caller.ask(token).code for token in tokens]
                return None if 503 in found else found

            return eventually("it is open", asked)

    with gate_up(tmp_path, control_plane, *arguments) as up:
        tokens = [control_plane.make_token(each, audiences=[AUDIENCE]) for each in (one, other)]
        assert codes(up, *tokens) == [200, 200]
        (record,) = tmp_path.glob("state/**/revocations.json")
    shutil.rmtree(record.parent)
    control_plane.admin.delete(one.secret_path)
    with gate_up(tmp_path, control_plane, *arguments) as up:
        assert codes(up, *tokens) == [401, 401]
        check(message_with(up.words, " record "), reason="no-record")
        assert len([line for line in up.words.splitlines() if " record " in line]) == 1
        with calling(up, control_plane, other) as newcomer:
            newcomer.becomes(200)


def test_a_gate_without_the_right_to_watch_reports_it_and_is_closed(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    reader = control_plane.make_identity()
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(control_plane, reader.token, kubeconfig)
    with (
        gate_up(tmp_path, control_plane, "--kubeconfig", str(kubeconfig)) as up,
        calling(up, control_plane, reader) as caller,
    ):
        up.wait_for_words(" ClusterRole")
        up.wait_for_words('verbs: ["')
        check(message_with(up.words, " ClusterRole"), reason="closed", hide=reader.user)
        assert caller.ask().code == 503


def test_without_a_kubeconfig_the_gate_reports_that_it_sees_no_revocations(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    identity = control_plane.make_identity()
    with gate_up(tmp_path, control_plane) as up, calling(up, control_plane, identity) as caller:
        check(message_with(up.words, "--kubeconfig"), reason="no-view")
        assert caller.ask().code == 200


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
        assert caller.ask().code == 200
        code, out, _ = commands("explain", caller.token, *explaining)
        assert (code, json.loads(out)["reason"], json.loads(out)["user"]) == (
            0, "allowed", identity.user,
        )  # fmt: skip
        code, out, err = commands("deny", caller.token, "--output", "json")
        assert code == 0
        caller.becomes(401)
        assert sibling.ask().code == 200
        code, explained, _ = commands("explain", caller.token, *explaining)
        assert (code, json.loads(explained)["reason"]) == (3, "denied")
        assert json.loads(out)["key"].startswith("jti.")
        undo = shlex.split(err[err.index("daypass gate ") :])
        assert undo[0] == "daypass"
        assert main([*undo[1:], "--output", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == {**json.loads(out), "until": None}
        caller.becomes(200)


def test_explain_sees_that_the_secret_is_gone(
    control_plane: ControlPlane, commands: Callable[..., tuple[int, str, str]]
) -> None:
    identity = control_plane.make_identity()
    token = control_plane.make_token(identity, audiences=[AUDIENCE])
    control_plane.admin.delete(identity.secret_path)
    code, out, _ = commands("explain", token, "--host", HOST)
    assert code == 3
    last = out.splitlines()[-1]
    assert last.split()[:3] == ["11", "refused", "(401):"]
    assert last.endswith(MESSAGES[Reason.DENIED])
