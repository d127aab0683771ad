"""Which models a request may reach, by rules that read its host or its path.

A reading is never chosen by its position: every model that a host or a path may mean counts, if it
exists, and the caller needs access to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from daypass.rules.patterns import Model, PathPattern, Place, owners

MODEL_HEADERS = (
    "x-gateway-model-name",
    "x-gateway-destination-endpoint",
    "x-prefiller-url",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
    "x-llm-d-prefiller-host-port",
    "x-llm-d-encoder-hosts-ports",
    "x-llm-d-kv-cache-source-host-port",
)
"""Headers that choose a model past host and path. No client needs to send one of them.

The first selects an LLMInferenceService's route (KServe, `pkg/apis/serving/v1beta1/configmap.go`,
DefaultModelBasedRoutingHeaderName), the second a Pod of the route's InferencePool or, at some
gateways, any Pod (Gateway API Inference Extension, `docs/proposals/004-endpoint-picker-protocol`).
To the others llm-d's sidecar sends requests (llm-d/llm-d-router, `pkg/common/routing/common.go`).
docs/reference/gate-refusals.md has the versions, and which headers are left out."""

LLM = "llminferenceservices.serving.kserve.io"
LIMIT_READINGS = 16
"""Models that exist and that a request may mean, at most. One that may mean more is refused."""
_PUBLISHERS = PathPattern.parse("/publishers/")
"""Where KServe serves LLMInferenceServices by `spec.model.name`, on every host of a gateway: not by
the name of an object, and several may have it."""

NamesIn: TypeAlias = Callable[[str, str], Set[str]]
"""Returns the names of the models of a kind that exist in a namespace. Raises UnknownModelsError.
"""


class UnknownModelsError(Exception):
    """It is not known which models exist."""


class Access(NamedTuple):
    """What a SubjectAccessReview asks: whether a user has this verb for this model.

    It is asked of a model that does not exist, too, and refused: nobody learns which ones exist.
    """

    verb: str
    model: Model
    exists: bool = True


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

    def names(self, host: str, path: str) -> frozenset[tuple[str, str]]:
        """Return every namespace and name that a request may mean. A path means the same on every
        host: a route of KServe's LLMInferenceService names no host, and takes what no other route
        of the gateway does.
        """
        return self.host.names(host) if self.path is None else self.path.names(path)

    def existing(self, host: str, path: str, names_in: NamesIn) -> Iterator[Access]:
        """Yield the accesses to the models that exist and that a request may mean."""
        for namespace, name in self.names(host, path):
            there = names_in(self.resource, namespace)
            for model in owners(name, there) if self.path is None else {name} & there:
                yield Access(self.verb, Model(self.resource, namespace, model))


def may_mean_models(rules: Sequence[ModelRule], host: str, path: str) -> bool:
    """Return whether a request needs a model, or may mean one."""
    return _is_of_publishers(rules, path) or any(
        rule.covers(host, path) or rule.names(host, path) for rule in rules
    )


def needed_accesses(
    rules: Sequence[ModelRule], host: str, path: str, names_in: NamesIn
) -> frozenset[Access] | None:
    """Return the accesses that a request needs: to all models that exist and that it may mean. If
    none exists, or too many: to one that does not, if it names any. None if it needs no model.
    """
    if _is_of_publishers(rules, path):
        return frozenset()
    found: set[Access] = set()
    has_model, is_covered = False, False
    for rule in rules:
        existing = set(rule.existing(host, path, names_in))
        found |= existing
        if rule.covers(host, path):
            is_covered = True
            has_model |= rule.host.matches(host) and bool(existing)
    if (is_covered and not has_model) or len(found) > LIMIT_READINGS:
        return _absent(rules, host, path)
    return frozenset(found) or None


def _absent(rules: Sequence[ModelRule], host: str, path: str) -> frozenset[Access]:
    """Return the access to the model with the shortest name that a request may mean."""
    named = [
        (len(name), Access(rule.verb, Model(rule.resource, namespace, name), exists=False))
        for rule in rules
        for namespace, name in rule.names(host, path)
    ]
    return frozenset({min(named)[1]} if named else ())


def _is_of_publishers(rules: Sequence[ModelRule], path: str) -> bool:
    return _PUBLISHERS.is_near(path) and any(rule.resource == LLM for rule in rules)
