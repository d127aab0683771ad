"""`daypass up` with the embedded API server: restarts, and damaged state files."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from daypass._core.files import write_private
from daypass.client.credentials import Credentials
from daypass.local.stack import stack_config
from local.up_embedded import (
    admin_of,
    at_the_gate,
    checked_by,
    credentials_of,
    fixed_config,
    passed_by_the_gate,
)
from support import network_of_its_own
from support.authority import Authority
from support.deadline import eventually
from support.identities import make_identity
from support.messages import check as check_message
from support.messages import line_with, message_with
from support.objects import kubeconfig
from support.ports import listens
from support.programs import DAYPASS, run
from support.unlimited_reviews import UNLIMITED
from support.up import Up


def test_door_gate_and_echo_work_together(tmp_path: Path) -> None:
    with Up(tmp_path, stack_config()) as up:
        identity = make_identity(admin_of(up), "team")
        token = credentials_of(up, identity).token()
        answer = passed_by_the_gate(up, token.value)
        assert answer.json["headers"]["kubeflow-userid"] == identity.user
        assert at_the_gate(up, identity.token).code == 401
        up.wait_for_words("as it should: 403")
        up.wait_for_words(" KUBECONFIG=")
        assert up.end() == 0
    assert token.value.reveal() not in up.words
    assert "Traceback" not in up.words


def test_identities_and_their_tokens_survive_a_restart_and_keys_on_disk_do_not(
    tmp_path: Path,
) -> None:
    config = fixed_config()
    with Up(tmp_path, config) as up:
        old = credentials_of(up, make_identity(admin_of(up), "team")).token()
        (left,) = up.runtime.iterdir()
        assert list(left.glob("*.pem"))
        assert up.end() == 0
    assert not left.exists()
    with Up(tmp_path, config) as again:
        assert at_the_gate(again, old.value).code == 200
        # The very file from before: the same door, the same authority.
        new = Credentials.from_file(tmp_path / "bot.json").token()
        assert at_the_gate(again, new.value).code == 200
        assert again.end() == 0
    assert not list(up.runtime.iterdir())


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = stack_config(gate_port=taken.getsockname()[1])
        with Up(tmp_path, config) as up:
            assert up.wait() == 1
        assert f"127.0.0.1:{taken.getsockname()[1]}" in up.words
    check_message(up.words, reason="failed")
    assert not list(up.runtime.iterdir())


def test_a_shutdown_is_reported_as_soon_as_it_is_requested(tmp_path: Path) -> None:
    """Even while it is busy: a frozen Envoy is waited for before it is killed."""
    with Up(tmp_path, stack_config()) as up:
        (pid,) = up.envoy_pids()
        os.kill(pid, signal.SIGSTOP)
        up.wait_for_words("Ctrl-C")
        before = len(up.words.splitlines())
        up.process.send_signal(signal.SIGINT)
        eventually("it is reported", lambda: len(up.words.splitlines()) > before)
        assert up.process.poll() is None
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
    closing, closed = up.words.splitlines()[before:]
    check_message(closing, reason="log")
    check_message(closed, reason="log")


def test_a_damaged_state_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    with Up(tmp_path, stack_config()) as up:
        assert up.end() == 0
    (state,) = tmp_path.glob("state/**/api-server.json")
    whole = state.read_bytes()
    bent = whole[: len(whole) // 2]
    state.write_bytes(bent)
    with Up(tmp_path, stack_config()) as again:
        assert again.wait() == 1
    assert again.words.startswith(f"daypass: {state} ")
    assert f"rm {state}" in again.words
    check_message(again.words, reason="failed", hide=r"\S+(?=/api-server\.json)")
    assert state.read_bytes() == bent
    assert list(again.runtime.iterdir()) == []


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_after_a_restart_revoked_tokens_are_refused_and_others_pass_from_the_first_request(
    tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    """Nothing is remembered: what exists is listed before Envoy starts."""
    folder = tmp_path_factory.mktemp("up")  # short: a socket is in it
    config = checked_by(check, fixed_config())
    with Up(folder, config) as up:
        admin = admin_of(up)
        names = ("one", "two", "other")
        one, two, other = (make_identity(admin, "team", name) for name in names)
        tokens = [credentials_of(up, each).token().value for each in (one, two, other)]

        def codes(up: Up) -> list[int]:
            return [at_the_gate(up, token).code for token in tokens]

        eventually("they pass", lambda: codes(up) == [200, 200, 200])
        admin.delete(one.secret_path)
        eventually("it is refused", lambda: codes(up) == [401, 200, 200])
        admin.delete(two.secret_path)
        up.end(signal.SIGKILL)
    eventually("its Envoy has ended", lambda: not listens(up.port))
    with Up(folder, config, program=UNLIMITED) as again:
        assert codes(again) == [401, 401, 200]
        left = {each.name for each in Path(again.ready["certificateAuthority"]).parent.iterdir()}
    assert left == {"admin.kubeconfig", "api-server.json", "authority.crt", "authority.key", "lock"}


def test_it_ends_with_its_envoy(tmp_path: Path) -> None:
    with Up(tmp_path, stack_config()) as up:
        up.wait_for_words("Ctrl-C")
        (envoy,) = up.envoy_pids()
        os.kill(envoy, signal.SIGKILL)
        assert up.wait() == 1
    check_message(message_with(up.words, "was killed"), reason="envoy-failed")
    assert not list(up.runtime.iterdir())


def dead_cluster(folder: Path, issuer: str = "") -> str:
    """A config for an API server that is not there."""
    (folder / "ca.crt").write_text(Authority().pem)
    fields = "server: https://127.0.0.1:9, certificateAuthority: ca.crt" + issuer
    return stack_config(cluster=f"cluster: {{{fields}}}\n")


def kubeconfig_option(folder: Path) -> list[str]:
    """A user of an API server that is not there."""
    file = folder / "kubeconfig"
    write_private(str(file), json.dumps(kubeconfig("https://127.0.0.1:9", {"token": "x"})).encode())
    return ["--kubeconfig", str(file)]


def test_a_gate_without_a_kubeconfig_does_not_start_and_names_the_rights(tmp_path: Path) -> None:
    config = dead_cluster(tmp_path, ", issuer: https://kubernetes.default.svc")
    with Up(tmp_path, config) as up:
        assert up.wait() == 2
    check_message(up.words, "--kubeconfig", "Secrets", "tokenreviews", reason="usage")
    assert not list(up.runtime.iterdir())


def test_a_gate_without_keys_refuses_every_token(tmp_path: Path) -> None:
    embedded = tmp_path / "embedded"
    embedded.mkdir()
    with Up(embedded, stack_config()) as up:
        token = credentials_of(up, make_identity(admin_of(up), "team")).token().value
    config = dead_cluster(tmp_path, ", issuer: https://kubernetes.default.svc")
    with Up(tmp_path, config, arguments=kubeconfig_option(tmp_path)) as keyless:
        keyless.wait_for_words("cannot be reached")
        answer = at_the_gate(keyless, token)
        assert (answer.code, answer.json["kind"]) == (503, "Status")
        assert keyless.process.poll() is None


FOLLOWED = """
mkfifo words
daypass up -o json > ready 2> words &
sed '/Ctrl-C stops it/q' words > said
eval "$(sed -n '/^daypass: for another terminal/,/^daypass: Ctrl-C/p' said | grep '^  ')"
daypass token --credentials bot.json > token
verify() { daypass verify --credentials bot.json --config state/daypass/*/defaults.yaml "$@"; }
while verify | grep 'does not know the credentials'; do sleep 0.1; done  # they are new
verify -o json > found
kill $!
wait $!
"""


def test_in_an_empty_folder_it_starts_with_defaults_that_its_hint_names(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path)}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    # The defaults have fixed ports, which another process may use in this network.
    shell = network_of_its_own.start(
        ["sh", "-ec", FOLLOWED], ports=[], hosts={}, environment=env, folder=tmp_path
    )
    words, _ = shell.communicate(timeout=120)
    assert shell.returncode == 0, words
    said = (tmp_path / "said").read_text()
    assert said.count("enforces no policy") == 1
    check_message(line_with(said, "starts with"), "/defaults.yaml", hide=r"(?<=state/daypass/)\w+")
    ready = json.loads((tmp_path / "ready").read_text())
    assert ready["listen"] == {"door": "127.0.0.1:8443", "gate": "127.0.0.1:8444"}
    (findings,) = json.loads((tmp_path / "found").read_text())["domains"].values()
    assert {each["check"]: each["level"] for each in findings}["gate"] == "ok"
    assert not (tmp_path / "daypass.yaml").exists()


def test_without_inotify_instances_the_limit_to_raise_is_named(tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text(stack_config())
    limited = 'echo 0 > /proc/sys/user/max_inotify_instances; exec "$@"'
    done = run(
        "unshare", "--user", "--map-root-user", "sh", "-ec", limited, "sh", *DAYPASS, "up",
        folder=tmp_path, environment={"XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    check_message(done.stderr, "fs.inotify.max_user_instances", reason="envoy-failed")
