"""The modules that a cached token imports, which determine how long users and kubectl wait."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from support.fake_door import AUDIENCE, short_lived_token

SCRIPT = """
import sys
before = set(sys.modules)
from daypass.cli import main
code = main({arguments!r})
sys.stderr.write(" ".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""
ALWAYS = {
    "__future__", "_blake2", "atexit", "errno", "gc",
    "daypass", "daypass._core", "daypass._core.clock", "daypass._core.errors",
    "daypass._core.files", "daypass._core.record", "daypass.cli", "daypass.cli.console",
    "daypass.cli.fast_path",
    "daypass.client", "daypass.client.credentials_source", "daypass.client.errors",
    "daypass.client.shared_cache", "daypass.client.token",
}  # fmt: skip
PLUGIN = {
    "daypass.cli.exec_credential", "daypass.integrations", "daypass.integrations.kubectl",
}  # fmt: skip


def run(*arguments: str) -> tuple[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (("token",), {"daypass.cli.token"}),
        (("token", "-o", "json"), {"daypass.cli.token"}),
        (("token", "-o", "yaml"), {"daypass.cli.token"}),
        (("token", "--output", "header"), {"daypass.cli.token"}),
        (("exec-credential", "--audience", AUDIENCE), PLUGIN),
    ],
    ids=["text", "json", "yaml", "header", "exec-credential"],
)
def test_a_cached_token_imports_only_these_modules(
    open_door: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    more: set[str],
) -> None:
    info = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{}}'
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", info)
    door, _ = open_door()
    run(*arguments)
    printed, loaded = run(*arguments)
    assert short_lived_token() in printed
    assert ("v1beta1" in printed) is ("exec-credential" in arguments)
    assert loaded == ALWAYS | more
    assert len(door.requests) == 1


def test_a_new_token_imports_no_argparse_http_client_or_asyncio(
    open_door: Callable[..., Any],
) -> None:
    open_door()
    _, loaded = run("token", "--lifetime", "1h", "--audience", "gate.example.com")
    unwanted = {"argparse", "asyncio", "email", "encodings.idna", "hashlib"}
    unwanted |= {"http", "http.client", "logging", "random", "tempfile", "typing", "urllib"}
    assert "ssl" in loaded
    assert not loaded & unwanted


def test_a_command_with_a_token_in_a_variable_waits_for_nothing_that_only_files_need(
    open_door: Callable[..., Any],
) -> None:
    open_door()
    arguments = ("run", "--", "/no/such/file")  # a command that exists would replace the script
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 127
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "daypass.integrations.run_with_token" in loaded
    unwanted = {"argparse", "asyncio", "http.client", "logging", "shutil"}
    unwanted |= {"subprocess", "tempfile", "tomllib", "urllib"}
    assert not loaded & unwanted
    assert not [name for name in loaded if name.startswith("daypass.agent")]
