"""A gate that the authorizer answers for: what it requires, how it responds, what it counts."""

from __future__ import annotations

from daypass.config import Gate
from daypass.gate.authorizer.destinations import Destinations
from daypass.gate.authorizer.responses import AuthzResponses
from daypass.gate.metrics import GateMetrics
from daypass.rules.decision import Rules


class ServedGate:
    """One gate. `is_verified`: its proxy has verified the tokens, so the authorizer does not."""

    def __init__(self, name: str, gate: Gate, rules: Rules, *, is_verified: bool) -> None:
        self.name = name
        self.rules = rules
        self.is_verified = is_verified
        self.remember_seconds = gate.remember_seconds
        self.responses = AuthzResponses(gate)
        self.metrics = GateMetrics()
        self.destinations = Destinations(rules)
