"""`--dry-run` in each command that writes. `tests/cluster/test_dry_run.py` runs all of them."""

from __future__ import annotations

import shlex

import pytest
from tools.reference.commands import command_parsers

from daypass.kube.resources import CONFIG_MAPS
from support.embedded import EmbeddedCluster
from support.lifecycle import dry_run

READ_ONLY = """
    completion; config schema; config validate; demo; diff; doctor; exec-credential; gate explain;
    help; identity list; identity show; kubeconfig; render; status; token; trace;
    verify; version
"""
"""They print. `demo` has a cluster of its own, and removes it; `render` has --check. `kubeconfig`
writes nothing but a new file."""
LONG_RUNNING = "agent; gate serve; gate watch; run; up"
"""They write for as long as they run, what their config says."""


def test_every_command_reads_runs_or_has_a_dry_run() -> None:
    groups = {path[:-1] for path in command_parsers()}
    others = {tuple(each.split()) for each in f"{READ_ONLY};{LONG_RUNNING}".split(";")}
    parsers = command_parsers()
    writing = {path for path in parsers if "--dry-run" in parsers[path]._option_string_actions}
    assert writing | others == set(parsers) - groups
    assert not writing & others


@pytest.mark.parametrize(
    ("line", "name", "mode"),
    [
        ("--dry-run bot", "bot", "client"),
        ("bot --dry-run", "bot", "client"),
        ("--dry-run=server bot", "bot", "server"),
        ("bot", "bot", None),
        ("--dry-run -- server", "server", "client"),
    ],
)
def test_a_dry_run_never_takes_the_next_word(line: str, name: str, mode: str | None) -> None:
    args = command_parsers()["identity", "delete"].parse(shlex.split(line))
    assert (args.name, args.dry_run) == (name, mode)


def config_map(**data: str) -> dict[str, object]:
    metadata = {"name": "settings", "namespace": "team"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.fixture
def embedded() -> EmbeddedCluster:
    embedded = EmbeddedCluster()
    embedded.make_namespace("team")
    embedded.cluster.create(config_map(a="1"))
    return embedded


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_that_a_command_forgot_in_its_dry_run_is_an_error(
    embedded: EmbeddedCluster, method: str
) -> None:
    path = CONFIG_MAPS.path("team", "settings")
    with (
        dry_run(embedded.cluster, "client") as cluster,
        pytest.raises(RuntimeError, match="change it"),
    ):
        cluster.request(method, path, {}, what="change it")
