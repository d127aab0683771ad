"""The file, context and entry that are used are those that kubectl uses."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daypass.kube import kubeconfig
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import KubeconfigError
from daypass.kube.kubeconfig import find_connection_config
from support.messages import raises
from unit.kube.conftest import V1, Write

KUBECTL = str(Path(sys.executable).with_name("kubectl"))


def kubectl_says(environ: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """What is left of the merged kubeconfigs once only the chosen context counts."""
    done = subprocess.run(
        [KUBECTL, *arguments, "config", "view", "--minify", "--flatten", "--raw", "-o", "json"],
        env={"HOME": "/nowhere", **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def same_as_kubectl(
    environ: Mapping[str, str], *arguments: str, **options: Any
) -> ConnectionConfig:
    """The access that is found, once it is seen that kubectl finds the same one."""
    access = find_connection_config(environ, **options)
    theirs = kubectl_says(environ, *arguments)
    cluster, user = theirs["clusters"][0]["cluster"], theirs["users"][0]["user"]
    authority = cluster.get("certificate-authority-data")
    assert access.server == cluster["server"]
    assert access.namespace == theirs["contexts"][0]["context"].get("namespace", "default")
    assert (access.token.reveal() if access.token else None) == user.get("token")
    assert access.authority == (base64.b64decode(authority).decode() if authority else None)
    return access


def test_the_first_file_with_an_entry_takes_precedence_and_missing_files_are_skipped(
    write: Write, tmp_path: Path
) -> None:
    first = write("a/config", user={"token": "first"}, **{"current-context": ""})
    second = write("b/config", entry="two", user={"token": "second"})
    again = write("c/config", user={"token": "again"}, cluster={"server": "https://again.test"})
    listed = ":".join(map(str, (tmp_path / "absent", first, second, again, "")))
    access = same_as_kubectl({"KUBECONFIG": listed})
    assert access.server == "https://two.test:6443"
    access = same_as_kubectl({"KUBECONFIG": listed}, "--context", "one", context="one")
    assert access.token is not None
    assert access.token.reveal() == "first"


def test_a_relative_path_is_relative_to_its_kubeconfig(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write("a/config", context={"cluster": "two"})
    second = write("b/config", entry="two", cluster={"certificate-authority": "ca.crt"})
    (tmp_path / "b" / "ca.crt").write_text("-----BEGIN B\n")
    (tmp_path / "a" / "ca.crt").write_text("-----BEGIN A\n")
    access = same_as_kubectl({"KUBECONFIG": f"{first}:{second}"})
    assert access.authority == "-----BEGIN B\n"
    monkeypatch.chdir(second.parent)
    same_as_kubectl({}, "--kubeconfig", "config", kubeconfig="config")


def test_a_cluster_entry_may_name_the_authority_of_its_door(write: Write, tmp_path: Path) -> None:
    (tmp_path / "door.crt").write_text("pem")
    door = {"name": "daypass.dev/door", "extension": {"certificate-authority": "door.crt"}}
    write(cluster={"server": "https://a.test", "extensions": [{"name": "other"}, door]})
    assert same_as_kubectl({"KUBECONFIG": str(tmp_path / "config")}).door_authority == "pem"
    door["extension"] = "odd"
    write(cluster={"server": "https://a.test", "extensions": [door]})
    assert same_as_kubectl({"KUBECONFIG": str(tmp_path / "config")}).door_authority is None


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1"])
def test_a_pod_uses_its_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    for name, content in (("token", "T"), ("namespace", "team\n"), ("ca.crt", "PEM")):
        (tmp_path / name).write_text(content)
    environ = {
        "HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443",
    }  # fmt: skip
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT_FOLDER", tmp_path)
    access = find_connection_config(environ)
    assert access.server == f"https://{f'[{host}]' if ':' in host else host}:6443"
    assert (access.namespace, access.authority) == ("team", "PEM")
    assert access.token_file == str(tmp_path / "token")
    with raises(KubeconfigError, match=str(tmp_path / "absent")):
        monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT_FOLDER", tmp_path / "absent")
        find_connection_config(environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, "KUBECONFIG"), ({"KUBECONFIG": "/nowhere/a:/nowhere/b"}, "KUBECONFIG.*/nowhere/a")],
)
def test_a_missing_named_kubeconfig_is_an_error_without_a_fallback(
    environ: dict[str, str], expected: str
) -> None:
    with raises(KubeconfigError, match=expected):
        find_connection_config({"HOME": "/nowhere", **environ})


def test_a_credentials_file_of_daypass_is_not_taken_for_a_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "bot.json"
    file.write_text('{"type": "daypass", "version": 1, "token": "hush"}')
    with raises(KubeconfigError, match=r"bot\.json is a credentials file") as caught:
        find_connection_config({}, kubeconfig=str(file))
    assert "hush" not in str(caught.value)


def test_an_invalid_namespace_never_enters_a_url(write: Write) -> None:
    with raises(KubeconfigError, match="namespace"):
        find_connection_config({}, kubeconfig=str(write()), namespace="../kube-system")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "insecure-skip-tls-verify": (
        {"cluster": {"insecure-skip-tls-verify": True}}, "insecure-skip-tls-verify",
    ),
    "no server": ({"cluster": {"server": ""}}, "`server`"),
    "password": ({"cluster": {"server": "https://admin:hunter2@api.example.com"}}, "`server`"),
    "http": ({"cluster": {"server": "http://api.example.com"}}, "http"),
    "no PEM": ({"cluster": {"certificate-authority-data": "%%%"}}, "`certificate-authority`"),
    "no file": ({"cluster": {"certificate-authority": "gone.crt"}}, "gone.crt.*: No such file"),
    "auth-provider": ({"user": {"auth-provider": {"name": "gcp"}}}, "auth-provider"),
    "token": ({"user": {"token": 12345}}, "`token`"),
    "as-user-extra": ({"user": {"as-user-extra": {"a": ["b"]}}}, "as-user-extra"),
    "as-groups": ({"user": {"as-groups": "admins"}}, "`as-groups`"),
    "no command": ({"user": {"exec": {"apiVersion": V1}}}, "command"),
    "v1alpha1": (
        {"user": {"exec": {"command": "x", "apiVersion": f"{V1}alpha1"}}},
        f"\\bx\\b.*{V1}alpha1",
    ),
    "contexts": ({"contexts": {"a": "b"}}, "`contexts`"),
}  # fmt: skip
"""What is in the kubeconfig, and what the error names."""


@pytest.mark.parametrize(("content", "expected"), REFUSED.values(), ids=REFUSED)
def test_an_unsafe_or_unsupported_entry_is_refused(
    write: Write, content: dict[str, Any], expected: str
) -> None:
    with raises(KubeconfigError, match=expected) as refused:
        find_connection_config({}, kubeconfig=str(write(**content)))
    assert "hunter2" not in str(refused.value)


def test_a_relative_plugin_path_is_resolved_next_to_the_kubeconfig(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = {"apiVersion": V1, "command": "./plugin"}
    file = write(user={"exec": plugin})
    monkeypatch.chdir(tmp_path)
    for named in (file, file.relative_to(tmp_path)):
        found = find_connection_config({}, kubeconfig=str(named)).plugin
        assert found is not None
        assert found.command == str(tmp_path / "plugin")


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("users: [{name: x, user: {token: !!python/object/apply:os.system [x]}}]", "YAML"),
        ("- a\n- b\n", "kubeconfig"),
        ("", "context"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, content: str, key: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with raises(KubeconfigError, match=key):
        find_connection_config({}, kubeconfig=str(file))
