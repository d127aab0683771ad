"""`daypass __complete`: what it offers. What shells do with it is in tests/packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tools.reference.commands import command_parsers

from daypass import cli
from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli.completion import FILES, NOTHING_ELSE
from support.fake_door import FakeDoor, answer

Offered = Callable[..., dict[str, str]]
EVIL = ["$(touch x)", "`id`", "-A", ":0", "a b", "a\tb", "a\n:0", "a;b", "~root", "*", "a'b", "é"]


@pytest.fixture
def offered(capsys: pytest.CaptureFixture[str]) -> Offered:
    """Complete the last word; the candidates and their summaries, if the directive is this one."""

    def complete(*words: str, directive: int = NOTHING_ELSE) -> dict[str, str]:
        assert cli.main(["__complete", *words]) == 0
        out, err = capsys.readouterr()
        *lines, last = out.splitlines()
        assert (err, last) == ("", f":{directive}")
        return {name: summary for name, _, summary in (line.partition("\t") for line in lines)}

    return complete


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the kubeconfig, for this API server with these contexts; the first is current."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "kubeconfig")

    def write(server: str = "https://127.0.0.1:9", *names: str, **user: object) -> None:
        entry = {"cluster": "c", "user": "u", "namespace": "team"}
        document = {
            "current-context": names[0] if names else "one",
            "contexts": [{"name": name, "context": entry} for name in names or ("one",)],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": user or {"token": "SENTINEL"}}],
        }
        Path("kubeconfig").write_text(json.dumps(document))

    return write


def objects(*names: str, owned: bool = True) -> bytes:
    """The API server's answer to a list of namespaces or identities."""
    items = []
    for name in names:
        annotations = {"daypass.dev/identity": f"team/{name}"} if owned else {}
        labels = {"app.kubernetes.io/managed-by": "daypass"}
        metadata = {"name": name, "namespace": "team", "uid": "1"}
        items.append({"metadata": {**metadata, "annotations": annotations, "labels": labels}})
    return answer(200, json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}))


def test_every_command_is_offered_with_its_summary(offered: Offered) -> None:
    parsers = command_parsers()
    for path in [(), *parsers]:
        below = {each[-1]: it for each, it in parsers.items() if each[:-1] == path}
        if below:
            found = offered(*path, "")
            assert set(found) == set(below)
            assert all(str(below[name].description).startswith(found[name]) for name in found)
            assert all(found.values())
            assert offered("help", *path, "") == found


def test_every_option_of_every_command_is_offered(offered: Offered) -> None:
    for path, parser in command_parsers().items():
        found = offered(*path, "-")
        known = parser._option_string_actions
        assert set(found) == set(known)
        assert all((known[name].help or "").startswith(found[name]) for name in found)
        assert found["--help"]


@pytest.mark.parametrize(
    ("line", "directive", "candidates"),
    [
        ("tok", NOTHING_ELSE, "token"),
        ("--v", NOTHING_ELSE, "--version"),
        ("nonsense tok", NOTHING_ELSE, ""),
        ("help tok", NOTHING_ELSE, "token"),
        ("help token ", NOTHING_ELSE, ""),
        ("gate wa", NOTHING_ELSE, "watch"),
        ("completion z", NOTHING_ELSE, "zsh"),
        ("token --output ", NOTHING_ELSE, "text json yaml header"),
        ("token --output j", NOTHING_ELSE, "json"),
        ("token --output=he", NOTHING_ELSE, "header"),
        ("token --nonsense=", NOTHING_ELSE, ""),
        ("token --audience ", NOTHING_ELSE, ""),
        ("token --credentials ", FILES, ""),
        ("token --credentials=", FILES, ""),
        ("trace team/bot ", FILES, ""),
        ("token --no-cache --aud", NOTHING_ELSE, "--audience"),
        ("token --audience x --aud", NOTHING_ELSE, ""),
        ("identity authorize bot --in x --in", NOTHING_ELSE, "--in --inference-only"),
        ("run --fi", NOTHING_ELSE, "--file"),
        ("run -- ", FILES, ""),
        ("token -- ", NOTHING_ELSE, ""),
        ("", NOTHING_ELSE, " ".join(cli.COMMANDS)),
    ],
)
def test_what_is_offered_depends_on_the_words_before(
    offered: Offered, line: str, directive: int, candidates: str
) -> None:
    assert list(offered(*line.split(" "), directive=directive)) == candidates.split()


def test_an_optional_value_is_offered_after_an_equals_sign_only(
    offered: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_arguments(parser: Any) -> None:
        parser.add_argument("--dry-run", nargs="?", const="client", choices=("client", "server"))
        parser.add_argument("file", metavar="FILE")

    monkeypatch.setattr("daypass.cli.version.add_arguments", add_arguments)
    assert list(offered("version", "--dry-run=s")) == ["server"]
    assert offered("version", "--dry-run", "", directive=FILES) == {}


@pytest.mark.parametrize("line", ["verify {}", "identity create {}--domain="])
@pytest.mark.parametrize("option", ["", "--config ~/other.yaml ", "--config='$HOME/other.yaml' "])
def test_domains_are_those_of_the_config(
    offered: Offered, line: str, option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path.home() / "other.yaml" if option else Path("daypass.yaml")
    file.write_text("version: 1\ndomains:\n  lab: {host: lab.example.com}\n  ekf:\nfuture: [1]\n")
    assert list(offered(*line.format(option).split(" "))) == ["ekf", "lab"]


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ("gates:\n  serving: {audience: x}\n  ekf:\n", ["ekf", "serving"]),
        ("gates: {default: {audience: x}}\n", ["default"]),
        ("domains: {ekf: {host: x}}\n", []),
    ],
)
@pytest.mark.parametrize("command", ["create", "authorize"])
def test_gates_are_those_of_the_config(
    offered: Offered, config: str, names: list[str], command: str, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("daypass.yaml").write_text(f"version: 1\n{config}")
    assert list(offered("identity", command, "bot", "--gate", "")) == names


@pytest.mark.parametrize("option", ["--kubeconfig kubeconfig", "--kubeconfig=./kubeconfig", ""])
def test_contexts_are_those_of_the_kubeconfig(
    offered: Offered, kubeconfig: Callable[..., None], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig("https://127.0.0.1:9", "admin@a", "arn:aws:eks:eu:1:cluster/x", *EVIL)
    if option:
        monkeypatch.delenv("KUBECONFIG")
    names = ["admin@a", "arn:aws:eks:eu:1:cluster/x"]
    for command in (["identity", "list"], ["verify"], ["apply"]):
        assert list(offered(*command, *option.split(), "--context", "")) == names
    assert list(offered("apply", *option.split(), "--context=arn:")) == names[1:]


@pytest.mark.parametrize(
    ("line", "path", "candidates"),
    [
        ("identity show ", "/namespaces/team/serviceaccounts?", "bot ci"),
        ("identity rotate c", "/namespaces/team/serviceaccounts?", "ci"),
        ("identity delete -n other ", "/namespaces/other/serviceaccounts?", "bot ci"),
        ("identity show b", "/namespaces/team/serviceaccounts?", "bot"),
        ("identity list -n ", "/namespaces?", "bot ci"),
        ("identity list --namespace=b", "/namespaces?", "bot"),
        ("identity authorize bot --in ", "/namespaces?", "bot ci"),
        ("identity show bot -n ", "/namespaces?", "bot ci"),
    ],
)
def test_identities_and_namespaces_are_those_of_the_cluster(
    offered: Offered, kubeconfig: Callable[..., None], line: str, path: str, candidates: str
) -> None:
    with FakeDoor(objects("ci", "bot", *EVIL), context=None) as server:
        kubeconfig(server.url.removesuffix("/kubernetes"))
        found = offered(*line.split(" "))
    assert list(found) == candidates.split()
    (request,) = server.requests
    assert request.startswith(b"GET /api/v1" + path.encode())


def test_a_service_account_that_is_no_identity_is_not_offered(
    offered: Offered, kubeconfig: Callable[..., None]
) -> None:
    with FakeDoor(objects("default", owned=False), context=None) as server:
        kubeconfig(server.url.removesuffix("/kubernetes"))
        assert offered("identity", "show", "") == {}
    assert server.requests


@pytest.mark.parametrize(
    "words",
    [["identity", "show", ""], ["identity", "list", "-n", ""], ["verify", ""],
     ["apply", "--context", ""], ["identity", "show", "-n", "no namespace", ""]],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("content", ["", "{", "[1]", "domains: 1", "SENTINEL: \t&a *a", "\0"])
def test_a_file_that_is_missing_or_broken_is_no_error(
    offered: Offered, words: list[str], content: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "kubeconfig")
    for name in ("kubeconfig", "daypass.yaml") if content else ():
        Path(name).write_text(content)
    assert offered(*words) == {}


def test_no_credential_plugin_runs(
    offered: Offered, kubeconfig: Callable[..., None], tmp_path: Path
) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": ["ran"]}
    with FakeDoor(objects("bot"), context=None) as server:
        kubeconfig(server.url.removesuffix("/kubernetes"), exec=plugin)
        assert offered("identity", "show", "") == {}
        assert list(offered("apply", "--context", "")) == ["one"]
    assert server.requests == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("trickles", [False, True])
def test_a_cluster_that_hangs_delays_the_shell_for_a_second(
    kubeconfig: Callable[..., None], trickles: bool
) -> None:
    ends = Event()

    def hang(connection: Any) -> None:
        if trickles:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while not ends.wait(0.1):
            if trickles:
                connection.sendall(b" ")

    with FakeDoor(hang, context=None) as server:
        kubeconfig(server.url.removesuffix("/kubernetes"))
        started = SYSTEM_CLOCK.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "daypass", "__complete", "identity", "show", ""],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        seconds = SYSTEM_CLOCK.monotonic() - started
        ends.set()
    assert (done.stdout, done.stderr) == (":4\n", "")
    assert len(server.requests) == 1
    assert 1 <= seconds < 30, "the server never ends its response"


def test_commands_and_domains_are_completed_without_slow_imports() -> None:
    script = """
import sys
from daypass.cli import main
for words in (["create", "--do"], ["create", "--domain", ""]):
    main(["__complete", "identity", *words])
    sys.stderr.write(" ".join(sys.modules.keys() & {"httpx2", "pydantic", "yaml", "cryptography"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == "yaml"
    assert "--door" in done.stdout
