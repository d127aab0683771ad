"""A gate that the authorizer answers for, and what the host and the path of a request mean at it,
remembered for the next request.

A gate with `audiences` or `authorize` looks at the path: only at its first segments, as many as the
longest pattern has. So what is remembered is bounded, and is the same for every path that has them:
a pattern is a prefix of whole segments. What every proxy might read differently is refused before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from daypass.config import Gate
from daypass.gate.authorizer.models import Models
from daypass.gate.authorizer.responses import AuthzResponses
from daypass.gate.metrics import GateMetrics
from daypass.rules.decision import Rules
from daypass.rules.models import Access, may_mean_models, needed_accesses

LIMIT_DESTINATIONS = 10_000
LIMIT_KEY_BYTES = 800
"""A host name has at most 253 bytes, two names in a path 316; Envoy takes anything after a colon
for a port."""

Key: TypeAlias = tuple[bytes, bytes]
"""A host, and the first segments of a path, or "" where no path matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a host and a path mean.

    `audiences`: of the tokens that open it. `has_readings`: whether it may mean a model, if that
    exists. `accesses`: what is needed, see `needed_accesses`; None if it needs no model.
    """

    audiences: frozenset[str]
    has_readings: bool
    accesses: tuple[Access, ...] | None


class Destinations:
    """The destinations of a gate. `known`: for lookups in the path of a request; bounded.

    `resources`: the kinds of its models, as PLURAL.GROUP. `models_until`: until when what is known
    of them counts (monotonic).
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.reads_paths = rules.reads_paths
        places = [*rules.authorize, *chain.from_iterable(rules.audiences.values())]
        paths = [place.path for place in places if place.path is not None]
        self._depth = max((len(path.parts) for path in paths), default=0)
        self.known: dict[Key, Destination] = {}
        self.resources = frozenset(each.resource for each in rules.authorize)
        self.models_until = -math.inf
        self._models = Models()

    def take_models(self, models: Models) -> None:
        """Read hosts and paths by these models from now on."""
        if models.names is not self._models.names:
            self.known.clear()
        self._models = models
        self.models_until = models.are_known_until(self.resources)

    def key(self, host: bytes, path: bytes) -> Key:
        """Return the key of a request, whose path is plain if it is read."""
        if not self._depth:
            return host, b""
        segments = path.partition(b"?")[0].split(b"/", self._depth + 1)
        return host, b"/".join(segments[: self._depth + 1])

    def find(self, key: Key) -> Destination:
        """Return the destination of a key, which has passed `check_claims`, and remember it."""
        destination = self.known.get(key)
        if destination is None:
            host, path = (part.decode("latin-1") for part in key)
            destination = self._read(host, path or "/")
            if sum(map(len, key)) <= LIMIT_KEY_BYTES:
                if len(self.known) >= LIMIT_DESTINATIONS:  # one name, with thousands of ports
                    self.known.clear()
                self.known[key] = destination
        return destination

    def _read(self, host: str, path: str) -> Destination:
        place = self._rules.authorize, host, path
        needed = needed_accesses(*place, self._models.names_in)
        audiences = (self._rules.audience, *self._rules.audiences)
        return Destination(
            audiences=frozenset(each for each in audiences if self._rules.opens(each, host, path)),
            has_readings=may_mean_models(*place),
            accesses=None if needed is None else tuple(needed),
        )


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
