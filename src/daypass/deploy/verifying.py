"""Whether what was applied does what it should, seen from outside, and by the cluster's routes."""

from __future__ import annotations

from daypass._core.errors import DaypassError
from daypass.audit.finding import Finding, Level, ok, skipped, warning
from daypass.audit.target import targets_of
from daypass.audit.verify import Verifier
from daypass.deploy.kinds import ask_kinds
from daypass.deploy.listed import list_all
from daypass.deploy.rollout import Patience, Say
from daypass.deploy.target import Target
from daypass.deploy.unguarded import find_unguarded, kinds_of
from daypass.kube.cluster import Cluster
from daypass.spec import Config

Findings = dict[str, list[Finding]]
GATE_HOSTS = "gate-hosts"
_QUESTION = "whether other names lead past the gate"


def verify_published(config: Config, patience: Patience, say: Say) -> Findings:
    """What `daypass verify` finds about each domain in a cluster; failures may heal for a while."""
    return {
        target.name: Verifier(
            wait_seconds=patience.left(), progress=lambda words: say(f"waiting: {words}")
        ).verify(target)
        for target in targets_of(config, None, None)
        if target.front != "envoy"
    }


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Whether other names lead past the gate; nothing where that cannot be. `cluster`: None where
    nobody is to be asked.
    """
    gate = config.gate
    if gate is not None and gate.guards_every_host:
        return [ok(GATE_HOSTS, "the gate guards whatever name is asked for")]
    if gate is None or not kinds_of(gate):
        return []
    if cluster is None:
        return [skipped(GATE_HOSTS, f"{_QUESTION}: --kubeconfig FILE looks at the cluster")]
    try:
        listed = list_all(Target(cluster, ask_kinds(cluster)), kinds_of(gate))
        found = find_unguarded(cluster, listed, config)
    except DaypassError as error:
        return [skipped(GATE_HOSTS, f"{_QUESTION}: {error.fact}")]
    if found.lines:
        return [warning(GATE_HOSTS, "\n".join(found.lines), found.hint)]
    if listed.unseen:
        return [skipped(GATE_HOSTS, f"{_QUESTION}: no right to list {', '.join(listed.unseen)}")]
    return [ok(GATE_HOSTS, "no other name on that gateway leads to what it guards")]


def has_failures(findings: Findings) -> bool:
    """Whether anything does not work, or is not safe."""
    return any(each.level is Level.FAILURE for found in findings.values() for each in found)
