"""Whether what was applied does what it should, seen from outside."""

from __future__ import annotations

from daypass.audit.finding import Finding, Level
from daypass.audit.target import targets_of
from daypass.audit.verify import Verifier
from daypass.deploy.rollout import Patience, Say
from daypass.spec import Config

Findings = dict[str, list[Finding]]


def verify_published(config: Config, patience: Patience, say: Say) -> Findings:
    """What `daypass verify` finds about each domain in a cluster; failures may heal for a while."""
    return {
        target.name: Verifier(
            wait_seconds=patience.left(), progress=lambda words: say(f"waiting: {words}")
        ).verify(target)
        for target in targets_of(config, None, None)
        if target.front != "envoy"
    }


def has_failures(findings: Findings) -> bool:
    """Whether anything does not work, or is not safe."""
    return any(each.level is Level.FAILURE for found in findings.values() for each in found)
