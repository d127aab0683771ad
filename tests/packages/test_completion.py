"""Completion in bash, zsh and fish, and in the real kubectl: what a user sees after a Tab."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import daypass
from support.programs import output_of, run

SCRIPT = {
    "bash": (["bash", "--norc", "-i"], "source <(daypass completion bash)"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -u -D; source <(daypass completion zsh)",
    ),
}
LINES = [
    ("daypass tok", "daypass token "),
    ("daypass token --output=he", "daypass token --output=header "),
    ("daypass verify --wait --certificate-authority=kubec", "-authority=kubeconfig "),
    ("daypass verify --config kubec", "daypass verify --config kubeconfig "),
    ("daypass run -- only-o", "daypass run -- only-one "),
    ("daypass run --env X -- ls kubec", "-- ls kubeconfig "),
]
"""What is typed before a Tab, and how the line ends then."""


@pytest.fixture
def shell_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kubeconfig").touch()
    (tmp_path / "only-one").touch(0o755)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{tmp_path}:{os.environ['PATH']}")
    for name, value in {"TERM": "dumb", "COLUMNS": "200", "PS1": "> "}.items():
        monkeypatch.setenv(name, value)


def type_line(shell: str, line: str, wanted: str) -> str:
    """Type a line and a Tab in an interactive shell until it shows what is wanted."""
    command, setup = SCRIPT[shell]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            screen = ""
            os.write(ours, f"stty columns 200; {setup}; echo rea''dy\n".encode())
            for typed, awaited in (("", "\nready"), (f"{line}\t", wanted)):
                os.write(ours, typed.encode())
                while awaited not in screen:
                    screen += os.read(ours, 65536).decode()
            return screen
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("shell_environment")
@pytest.mark.parametrize("shell", SCRIPT)
@pytest.mark.parametrize(("line", "completed"), LINES, ids=[line for line, _ in LINES])
def test_a_tab_completes_the_line(shell: str, line: str, completed: str) -> None:
    type_line(shell, line, completed)


@pytest.mark.usefixtures("shell_environment")
@pytest.mark.parametrize(("line", "completed"), LINES, ids=[line for line, _ in LINES])
def test_fish_completes_the_line(line: str, completed: str) -> None:
    script = "daypass completion fish | source; complete -C $argv[1]"
    done = run("fish", "--no-config", "-c", script, line)
    (candidate,) = done.stdout.splitlines()
    before, word = line.rpartition(" ")[0], candidate.partition("\t")[0]
    assert f"{before} {word} ".endswith(completed)
    assert done.stderr == ""


def kubectl(*words: str) -> str:
    return output_of("kubectl", *words)


@pytest.mark.usefixtures("shell_environment")
def test_kubectl_runs_and_completes_daypass_as_its_plugin() -> None:
    assert kubectl("daypass", "version") == f"daypass {daypass.__version__}\n"
    assert (
        kubectl("__complete", "daypass", "identity", "rev").splitlines()[0].startswith("revoke\t")
    )
    assert kubectl("__complete", "daypass", "verify", "--config", "").splitlines() == [":0"]
