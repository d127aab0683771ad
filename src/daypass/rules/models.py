"""Which models a request may reach, by rules that read its host or its path.

A reading is never chosen by its position: every model that a host or a path may mean counts, if it
exists, and the caller needs access to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from daypass.rules.patterns import Model, PathPattern, Place, candidates

MODEL_HEADERS = ("x-gateway-model-name", "x-gateway-destination-endpoint")
"""Headers that choose a model past host and path: the first selects an LLMInferenceService's route
(KServe, `pkg/apis/serving/v1beta1/configmap.go`, DefaultModelBasedRoutingHeaderName), the second a
Pod of the route's InferencePool or, at some gateways, any Pod (Gateway API Inference Extension,
`docs/proposals/004-endpoint-picker-protocol`). No client needs to send either."""

LLM = "llminferenceservices.serving.kserve.io"
_PUBLISHERS = PathPattern.parse("/publishers/")
"""Where KServe serves LLMInferenceServices by `spec.model.name`, on every host of a gateway: not by
the name of an object, and several may have it."""


class Access(NamedTuple):
    """What a SubjectAccessReview asks: whether a user has this verb for this model."""

    verb: str
    model: Model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule(Place):
    """A place whose requests need access to a model.

    The model is read from the path, if the place has one, otherwise from the host. `resource`:
    plural and group, such as `inferenceservices.serving.kserve.io`.
    """

    resource: str
    verb: str = "get"

    def covers(self, host: str, path: str) -> bool:
        """Return whether a request needs a model because of this rule.

        Other spellings of host and path count: they have no reading, and are refused.
        """
        name = host.lower().partition(":")[0].rstrip(".")
        return self.host.matches(name) and (self.path is None or self.path.is_near(path))

    def read(self, host: str, path: str) -> frozenset[Access]:
        """Return what a request may mean. A path means the same on every host: a route of KServe's
        LLMInferenceService names no host, and takes what no other route of the gateway does.
        """
        if self.path is not None:
            pairs = self.path.names(path)
        else:
            pairs = frozenset(
                (namespace, each)
                for namespace, name in self.host.names(host)
                for each in candidates(name)
            )
        return frozenset(
            Access(self.verb, Model(self.resource, namespace, name)) for namespace, name in pairs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a request may mean. `accesses`: those of them that exist are all needed. `required`: of
    these, one at least has to exist; None if the request needs no model.
    """

    accesses: frozenset[Access]
    required: frozenset[Access] | None

    def existing(self, exists: Callable[[Model], bool]) -> frozenset[Access] | None:
        """Return the accesses that are needed; none if no model exists. None if it needs no model.

        `exists` may raise, if that is unknown.
        """
        found = frozenset(access for access in self.accesses if exists(access.model))
        if self.required is None:
            return found or None
        return found if found & self.required else frozenset()


def read_models(rules: Sequence[ModelRule], host: str, path: str) -> Readings | None:
    """Return what a request may mean; None if it needs no model, whichever exist."""
    if _PUBLISHERS.is_near(path) and any(rule.resource == LLM for rule in rules):
        return Readings(accesses=frozenset(), required=frozenset())
    accesses: set[Access] = set()
    required: set[Access] = set()
    is_covered = False
    for rule in rules:
        found = rule.read(host, path)
        accesses |= found
        if rule.covers(host, path):
            is_covered = True
            required |= found if rule.host.matches(host) else set()
    if not is_covered and not accesses:
        return None
    return Readings(
        accesses=frozenset(accesses), required=frozenset(required) if is_covered else None
    )
