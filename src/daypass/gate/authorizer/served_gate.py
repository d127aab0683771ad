"""A gate that the authorizer answers for: what it requires, how it responds, what it counts."""

from __future__ import annotations

import math

from daypass.config import Gate
from daypass.gate.authorizer.destinations import Destinations
from daypass.gate.authorizer.models import Models
from daypass.gate.authorizer.responses import AuthzResponses
from daypass.gate.metrics import GateMetrics
from daypass.rules.decision import Rules


class ServedGate:
    """One gate. `is_verified`: its proxy has verified the tokens, so the authorizer does not.

    `resources`: the kinds of its models, as PLURAL.GROUP; `models_until`: until when what is known
    of them counts (monotonic).
    """

    def __init__(self, name: str, gate: Gate, rules: Rules, *, is_verified: bool) -> None:
        self.name = name
        self.rules = rules
        self.is_verified = is_verified
        self.remember_seconds = gate.remember_seconds
        self.responses = AuthzResponses(gate)
        self.metrics = GateMetrics()
        self.destinations = Destinations(rules)
        self.resources = frozenset(each.resource for each in rules.authorize)
        self.models_until = -math.inf

    def take_models(self, models: Models, *, have_changed: bool) -> None:
        """Replace what is known of the models that exist."""
        self.models_until = models.are_known_until(self.resources)
        if have_changed:
            self.destinations.known.clear()
