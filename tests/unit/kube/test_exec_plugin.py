"""Credential plugins: real programs that get what kubectl gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from daypass._core.secret import Secret
from daypass.kube import connection
from daypass.kube.connection import ExecPlugin, ExecPluginCredentials
from daypass.kube.errors import KubeconfigError
from daypass.kube.kubeconfig import find_connection_config
from support.messages import raises
from support.timing import FakeClock
from unit.kube.conftest import V1, Script, Write, printing

SENTINEL = "SENTINEL-of-a-plugin"


def exec_infos(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "told").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


def credentials(
    command: str, clock: FakeClock | None = None, **changes: Any
) -> ExecPluginCredentials:
    plugin = ExecPlugin(**{"api_version": V1, "command": command, **changes})
    return ExecPluginCredentials(plugin, "tests", clock or FakeClock())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_plugin_gets_exactly_the_exec_info_that_kubectl_sends(
    write: Write, script: Script, tmp_path: Path, version: str
) -> None:
    version = f"client.authentication.k8s.io/{version}"
    plugin = {
        "apiVersion": version, "command": script(printing(version, token="t")),
        "provideClusterInfo": True, "interactiveMode": "IfAvailable",
    }  # fmt: skip
    (tmp_path / "ca.crt").write_text("-----BEGIN X\n")
    cluster = {
        "server": "https://127.0.0.1:1/prefix/",
        "tls-server-name": "api.test",
        "proxy-url": "http://127.0.0.1:2",
        "extensions": [
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "z"}}
        ],
    }
    file = write(cluster=cluster, user={"exec": plugin})
    kubectl = Path(sys.executable).with_name("kubectl")
    subprocess.run(
        [kubectl, "--kubeconfig", file, "get", "--raw", "/version"],
        capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    found = find_connection_config({}, kubeconfig=str(file)).plugin
    assert found is not None
    assert ExecPluginCredentials(found, "tests", FakeClock()).token() == Secret("t")
    theirs, ours = exec_infos(tmp_path)
    assert ours == theirs


@pytest.mark.parametrize("zone", [UTC, None], ids=["UTC", "no zone: local time"])
def test_a_plugin_token_is_cached_until_it_expires(
    script: Script, tmp_path: Path, zone: tzinfo | None
) -> None:
    clock = FakeClock()
    ends = datetime.fromtimestamp(int(clock.unix()) + 60, zone).isoformat()
    plugin = credentials(script(printing(token="t", expirationTimestamp=ends)), clock)
    for passed, runs in ((0, 1), (59, 1), (1, 2)):
        clock.advance(passed)
        assert plugin.token() == Secret("t")
        assert len(exec_infos(tmp_path)) == runs


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("exit 3", r"\b3\b", id="exit code"),
        pytest.param(f"echo {SENTINEL}", f"{V1} ExecCredential", id="words"),
        pytest.param(printing(f"{V1}beta1", token=SENTINEL), V1, id="another version"),
    ],
)
@pytest.mark.timeout(20)
def test_a_plugin_that_fails_is_named_and_not_quoted(
    script: Script, body: str, expected: str
) -> None:
    plugin = credentials(script(body), install_hint="get it at https://plugin.test")
    with raises(KubeconfigError, match=expected) as failed:
        plugin.token()
    assert failed.value.hint == "get it at https://plugin.test"
    assert SENTINEL not in repr(failed.value)


@pytest.mark.timeout(20)
def test_a_plugin_that_hangs_times_out(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of it keeps its output open."""
    monkeypatch.setattr(connection, "PLUGIN_SECONDS", 0.2)
    with raises(KubeconfigError, match="/plugin"):
        credentials(script("sleep 5 & exit 0")).token()


def test_a_missing_plugin_is_reported_with_its_install_hint(tmp_path: Path) -> None:
    with raises(KubeconfigError, match="nope .*\nbrew install nope"):
        credentials("nope", install_hint="brew install nope").token()
    closed = tmp_path / "closed"
    closed.write_text("")
    with raises(KubeconfigError, match="/closed.*: Permission denied"):
        credentials(str(closed)).token()
    with raises(KubeconfigError):
        credentials("a\0b").token()


def test_nothing_of_a_plugin_that_may_be_secret_is_in_its_repr() -> None:
    plugin = ExecPlugin(
        api_version=V1, command="x", arguments=("--token", SENTINEL),
        environment=(("T", SENTINEL),), cluster={"proxy-url": f"http://u:{SENTINEL}@proxy"},
    )  # fmt: skip
    assert SENTINEL not in repr(plugin) + repr(credentials("x").__dict__)
    assert os.environ.get("KUBERNETES_EXEC_INFO") is None
