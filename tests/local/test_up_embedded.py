"""`daypass up` with the embedded API server: restarts, and damaged state files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from daypass._core.files import write_private
from daypass._core.kubernetes.labels import POLICY, POLICY_ENFORCED
from daypass.client.credentials import Credentials
from daypass.local.stack import stack_config
from daypass.rules.reasons import Reason
from support import network_of_its_own
from support.authority import Authority
from support.deadline import eventually
from support.gate_differences import reason_in
from support.identities import make_identity
from support.messages import check as check_message
from support.messages import line_with
from support.objects import kubeconfig
from support.ports import listens
from support.programs import DAYPASS, output_of, run
from support.unlimited_reviews import UNLIMITED
from support.up import Up, envoys_of
from support.up_embedded import (
    admin_of,
    at_the_gate,
    checked_by,
    credentials_of,
    fixed_config,
    passed_by_the_gate,
)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_identities_and_their_tokens_survive_a_restart_and_keys_on_disk_do_not(
    tmp_path: Path, number: signal.Signals
) -> None:
    config = fixed_config()
    with Up(tmp_path, config) as up:
        old = credentials_of(up, make_identity(admin_of(up), "team")).token()
        (left,) = up.runtime.iterdir()
        assert list(left.glob("*.pem"))
        assert up.end(number) == (0 if number == signal.SIGTERM else -number)
    eventually("its Envoy has ended", lambda: not listens(up.port))
    assert left.exists() == (number == signal.SIGKILL)
    with Up(tmp_path, config) as again:
        assert not left.exists()
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


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda whole: whole[: len(whole) // 2],
    "another version": lambda whole: whole.replace(b'"format": 2', b'"format": 999'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_file_is_refused_with_a_hint(tmp_path: Path, damage: str) -> None:
    with Up(tmp_path, stack_config()) as up:
        assert up.end() == 0
    (state,) = tmp_path.glob("state/**/api-server.json")
    whole = state.read_bytes()
    bent = DAMAGES[damage](whole)
    assert bent != whole
    state.write_bytes(bent)
    with Up(tmp_path, stack_config()) as again:
        assert again.wait() == 1
    assert again.words.startswith(f"daypass: {state} ")
    assert f"rm {state}" in again.words
    check_message(again.words, reason="failed", hide=r"\S+(?=/api-server\.json)")
    assert state.read_bytes() == bent
    assert list(again.runtime.iterdir()) == []
    state.unlink()
    with Up(tmp_path, stack_config()) as afresh:
        assert afresh.ready


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("check", ["jwt", "review"])
def test_after_a_restart_revoked_tokens_are_refused_and_others_pass_from_the_first_request(
    tmp_path_factory: pytest.TempPathFactory, check: str, number: signal.Signals
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
        up.end(number)
    eventually("its Envoy has ended", lambda: not listens(up.port))
    with Up(folder, config, program=UNLIMITED) as again:
        assert codes(again) == [401, 401, 200]
        left = {each.name for each in Path(again.ready["certificateAuthority"]).parent.iterdir()}
    assert left == {"admin.kubeconfig", "api-server.json", "authority.crt", "authority.key", "lock"}


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_tokens_of_a_namespace_without_the_label_are_refused(
    tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    with Up(tmp_path_factory.mktemp("up"), checked_by(check, stack_config())) as up:
        admin = admin_of(up)
        identity = make_identity(admin, "team")
        token = credentials_of(up, identity).token().value
        eventually("it passes", lambda: at_the_gate(up, token).code == 200)

        def becomes(reason: Reason) -> None:
            eventually(f"it is {reason}", lambda: reason_in(at_the_gate(up, token)) is reason)

        for label, reason in ((None, Reason.UNKNOWN_CREDENTIAL), (POLICY_ENFORCED, Reason.ALLOWED)):
            admin.patch("/api/v1/namespaces/team", {"metadata": {"labels": {POLICY: label}}})
            becomes(reason)


def dead_cluster(folder: Path, issuer: str = "") -> str:
    """A config for an API server that is not there."""
    (folder / "ca.crt").write_text(Authority().pem)
    fields = "server: https://127.0.0.1:9, certificateAuthority: ca.crt" + issuer
    return stack_config(cluster=f"cluster: {{{fields}}}\n")


ONE_DOOR = """\
version: 1
domains: {here: {host: localhost, front: envoy}}
local: {door: '127.0.0.1:0', apiServer: external}
"""


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


@pytest.mark.parametrize("content", [None, b"junk", b"\xff"], ids=["absent", "junk", "binary"])
def test_an_unusable_certificate_authority_of_the_api_server_is_a_usage_error(
    tmp_path: Path, content: bytes | None
) -> None:
    config = dead_cluster(tmp_path)
    file = tmp_path / "ca.crt"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with Up(tmp_path, config) as up:
        assert up.wait() == 2
    assert str(file) in up.words
    assert ("No such file" in up.words) is (content is None)
    check_message(up.words, reason="usage")


def test_an_api_server_without_a_named_authority_is_a_usage_error(tmp_path: Path) -> None:
    config = ONE_DOOR + "cluster: {server: https://127.0.0.1:9}\n"
    with Up(tmp_path, config) as up:
        assert up.wait() == 2
    check_message(up.words, "cluster.certificateAuthority", reason="usage")


def test_a_gate_that_does_not_know_its_issuer_does_not_start(tmp_path: Path) -> None:
    arguments = kubeconfig_option(tmp_path)
    with Up(tmp_path, dead_cluster(tmp_path), arguments=arguments) as up:
        assert up.wait() == 1
    check_message(up.words, "cannot be reached", reason="failed")


def test_the_end_of_its_terminal_ends_it_unless_nohup_runs_it(tmp_path: Path) -> None:
    with Up(tmp_path, stack_config()) as up:
        assert up.end(signal.SIGHUP) == 0
    assert not list(up.runtime.iterdir())
    program = (sys.executable, "-m", "daypass")
    with Up(tmp_path, stack_config(), python="nohup", program=program) as lasting:
        lasting.config_file.write_text("nonsense")  # for the next start
        lasting.process.send_signal(signal.SIGHUP)
        (envoy,) = lasting.envoy_pids()
        os.kill(envoy, signal.SIGKILL)
        lasting.wait_for_words("Envoy is up again")
        assert lasting.end() == 0


def test_a_full_stderr_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text(stack_config())
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(
            [sys.executable, "-m", "daypass", "up", "--output", "json", "--state", "state"],
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=full, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        port = int(ready["listen"]["door"].rpartition(":")[2])
        (envoy,) = envoys_of(process.pid)
        os.kill(envoy, signal.SIGKILL)  # there is something to report
        eventually("another Envoy is up", lambda: envoys_of(process.pid) not in ([], [envoy]))
        eventually("it listens", lambda: listens(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_kubeconfig_for_the_embedded_api_server_needs_no_audience(tmp_path: Path) -> None:
    with Up(tmp_path, stack_config()) as up:
        admin = admin_of(up)
        credentials_of(up, make_identity(admin, "team"))
        environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        output_of(
            *DAYPASS, "kubeconfig", "--server", admin.url,
            "--certificate-authority", up.authority_file, "--credentials", tmp_path / "bot.json",
            "--kubeconfig-out", tmp_path / "kube", environment=environment,
        )  # fmt: skip
        user = yaml.safe_load((tmp_path / "kube").read_text())["users"][0]["user"]["exec"]
        answer = output_of(user["command"], *user["args"], environment=environment)
        token = json.loads(answer)["status"]["token"]
        review = {"spec": {"token": token}}
        found = admin.create("/apis/authentication.k8s.io/v1/tokenreviews", review)
        assert found["status"]["user"]["username"] == "system:serviceaccount:team:bot"


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


def test_a_config_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "daypass.yaml").symlink_to("nowhere")
    cases: tuple[tuple[Path, list[str]], ...]
    cases = (
        (tmp_path, ["--config", "daypass.yaml"]),
        (tmp_path, ["--kubeconfig", "admin.kubeconfig"]),
        (tmp_path / "dangling", []),
    )
    for folder, arguments in cases:
        environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
        done = run(*DAYPASS, "up", *arguments, folder=folder, environment=environment)
        assert (done.returncode, "no such file" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "state").exists()


def test_without_inotify_instances_the_limit_to_raise_is_named(tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text(stack_config())
    limited = 'echo 0 > /proc/sys/user/max_inotify_instances; exec "$@"'
    done = run(
        "unshare", "--user", "--map-root-user", "sh", "-ec", limited, "sh", *DAYPASS, "up",
        folder=tmp_path, environment={"XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    check_message(done.stderr, "fs.inotify.max_user_instances", reason="envoy-failed")
