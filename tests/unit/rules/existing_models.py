"""Models that exist, as the rules ask for them, and rules that name models."""

from __future__ import annotations

from collections.abc import Iterable

from daypass.rules.models import ModelRule, NamesIn
from daypass.rules.patterns import HostPattern, Model, PathPattern

ISVC, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"


def rule(host: str, path: str = "", resource: str = ISVC, verb: str = "get") -> ModelRule:
    """A rule for these patterns."""
    form = PathPattern.parse(path) if path else None
    return ModelRule(host=HostPattern.parse(host), path=form, resource=resource, verb=verb)


def names_in(models: Iterable[Model]) -> NamesIn:
    """Return the names of a kind in a namespace, of these."""
    exist = frozenset(models)
    return lambda *place: {model.name for model in exist if model[:2] == place}
