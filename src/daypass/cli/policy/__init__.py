"""`daypass policy`: which tokens the API server may issue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.errors import UsageError
from daypass.cli import options

if TYPE_CHECKING:
    from daypass.config import Policy

SUMMARY = "limit which tokens the API server may issue"
COMMANDS = ("render", "apply")
EPILOG = """examples:
  daypass policy render > policy.yaml
  daypass policy apply
"""


def load_policy(path: Path) -> Policy:
    """Return the policy of a config. Raises ConfigError, or UsageError if it has none."""
    config = options.load_config(path)
    if config.policy is None:
        gates = config.gates.values()
        audience = next((gate.audience for gate in gates), "YOUR-AUDIENCE")
        raise UsageError(f"{path} has no policy", f"add one: policy: {{audiences: [{audience}]}}")
    return config.policy
