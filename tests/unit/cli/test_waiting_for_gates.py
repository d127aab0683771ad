"""Commands delete and create, and wait until each gate of the cluster has published it."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass._core.kubernetes import labels
from daypass.identity.accounts import IdentityName
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, ROLES
from daypass.render.names import GATE_WATCH
from support.embedded import EmbeddedCluster
from support.lifecycle import make
from support.messages import check, message_with
from unit.cli.conftest import Run
from unit.gate.stand_in_gates import StandInGate

DOOR = "--door https://ekf.example.com/kubernetes --audience gate"
CONFIG = """
version: 1
domains: {a: {host: ekf.example.com, front: istio, tls: outside, gateway: istio-system/ingress}}
policy: {audiences: [gate]}
gates: {default: {audience: gate, check: jwt}}
"""
FEDERATE = """identity federate ci --issuer https://ci.example.com --subject main --source github
    --credentials-out ci.json --door https://ekf.example.com/kubernetes --config gate.yaml"""
DENY = "gate deny --jti a --config gate.yaml --until 2030-01-01T00:00:00Z"
COMMANDS = {
    "create": f"identity create new {DOOR}",
    "rotate": "identity rotate bot --overlap 0",
    "rotate all": "identity rotate --all --overlap 1d --credentials-out all",
    "revoke": "identity revoke bot",
    "delete": "identity delete bot --yes",
    "delete expired": "identity delete --expired --yes",
    "federate": FEDERATE,
    "deny": DENY,
}


CODES = {"revoke": 3}
"""The embedded API server has no policies, so that unbound tokens stay."""


@pytest.fixture(autouse=True)
def identities(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    """An identity, and one that has expired; a config with a gate."""
    make(embedded.cluster)
    make(
        embedded.cluster,
        IdentityName(namespace="team", name="old"),
        deadline="2027-01-16T00:00:00Z",
    )
    embedded.clock.advance(86_400)
    (tmp_path / "gate.yaml").write_text(CONFIG)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reports_when_each_gate_has_published_its_change(
    embedded: EmbeddedCluster, run: Run, command: str
) -> None:
    StandInGate(embedded=embedded, delay_seconds=0.1)
    slow = StandInGate(embedded=embedded, gate_namespace="slow", delay_seconds=0.6)
    began = embedded.clock.monotonic()
    err = run(COMMANDS[command], code=CODES.get(command, 0))[1]
    took = embedded.clock.monotonic() - began
    if command == "deny":  # it names one gate
        assert 0.1 <= took < 0.3
    else:
        assert 0.6 <= took < 1.9
        assert slow.credentials == set(_published(embedded, "slow"))
    message = message_with(err, "published after")
    check(message, reason="published", hide=r"(?<=published after )[\d.]+")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        *((command, options) for command in COMMANDS for options in ("", "--dry-run")),
        ("create", "--no-wait"), ("revoke", "--no-wait"), ("revoke", "--timeout 1s"),
    ],
)  # fmt: skip
def test_a_command_waits_no_longer_than_its_options_say_if_no_watch_publishes(
    embedded: EmbeddedCluster, run: Run, command: str, options: str
) -> None:
    StandInGate(embedded=embedded, delay_seconds=3600)
    began = embedded.clock.monotonic()
    seconds = {"": 5, "--timeout 1s": 1}.get(options, 0)
    code = 0 if "--dry-run" in options else CODES.get(command, 0)
    err = run(f"{COMMANDS[command]} {options}", code=3 if seconds else code)[1]
    assert seconds <= embedded.clock.monotonic() - began < seconds + 1
    assert "published after" not in err
    assert (f"waited {seconds}s for the gate in daypass" in err) is bool(seconds)
    is_new = seconds and command in ("create", "rotate", "rotate all", "federate")
    assert ("a gate of daypass may refuse them at first" in err) is bool(is_new)


@pytest.mark.parametrize("options", ["", "--undo", "--dry-run"])
def test_where_there_is_no_gate_nothing_is_denied(
    embedded: EmbeddedCluster, run: Run, options: str
) -> None:
    out, err = run(f"{DENY} {options} --context wrong", code=1)
    check(err, "namespace daypass", "daypass apply --config gate.yaml", reason="no-gate")
    assert out == ""
    assert embedded.cluster.find(NAMESPACES, "daypass") is None
    StandInGate(embedded=embedded, gate_namespace="elsewhere")
    run(f"{DENY} {options}", code=1)


def test_a_denial_of_a_namespace_that_does_not_exist_is_warned_about(
    embedded: EmbeddedCluster, run: Run
) -> None:
    StandInGate(embedded=embedded)
    until = "--config gate.yaml --until 2030-01-01T00:00:00Z"
    err = run(f"gate deny --of-namespace nosuch {until}")[1]
    check(message_with(err, "warning"), "nosuch", reason="warning")
    for named in ("team", "nosuch --undo"):
        assert "warning" not in run(f"gate deny --of-namespace {named} {until}")[1]


@pytest.mark.parametrize("kind", ["namespaces", "configmaps"])
def test_who_may_not_read_the_set_gets_credentials_and_the_rule(
    embedded: EmbeddedCluster, run: Run, tmp_path: Path, kind: str
) -> None:
    StandInGate(embedded=embedded)
    embedded.forbidden.add(kind)
    err = run(f"identity create new {DOOR}", code=3)[1]
    check(message_with(err, "you may not see"), f'resources: ["{kind}"]', reason="warning")
    assert (tmp_path / "new.json").exists()


@pytest.mark.parametrize("command", ["create", "rotate", "rotate all", "federate"])
@pytest.mark.parametrize("delay_seconds", [0.3, 3600])
def test_credentials_are_handed_over_once_they_are_published_or_the_time_is_over(
    embedded: EmbeddedCluster, run: Run, tmp_path: Path, command: str, delay_seconds: float
) -> None:
    for name in ("second", "third"):
        make(embedded.cluster, IdentityName(namespace="team", name=name))
    gate = StandInGate(embedded=embedded, delay_seconds=delay_seconds)
    before, gate.seen[:] = set(tmp_path.rglob("*.json")), []
    gate.look = lambda: set(tmp_path.rglob("*.json")) - before
    run(COMMANDS[command], code=0 if delay_seconds < 5 else 3)
    files = {path.name for path in set(tmp_path.rglob("*.json")) - before}
    assert len(files) == (3 if command == "rotate all" else 1)
    if delay_seconds < 5:
        assert gate.seen[0] == set()
    if command == "rotate all":
        assert len(gate.seen) == (1 if delay_seconds < 5 else 0)


def test_the_watch_keeps_its_rights_until_a_deletion_is_published(
    embedded: EmbeddedCluster, run: Run
) -> None:
    run("identity delete old --yes")
    gate = StandInGate(embedded=embedded)
    run(f"identity create bot {DOOR}")
    gate.look = lambda: embedded.cluster.find(ROLES, GATE_WATCH, "team") is not None
    gate.seen.clear()
    run("identity delete bot --yes")
    assert gate.seen == [True]
    assert not gate.look()


def _published(embedded: EmbeddedCluster, gate_namespace: str) -> list[str]:
    found = embedded.cluster.list(CONFIG_MAPS, gate_namespace, labels=f"{labels.PUBLISHED}=true")
    return [it for each in found for it in each["data"].get("entries", "").split()]
