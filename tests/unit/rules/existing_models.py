"""Models that exist, as the rules ask for them."""

from __future__ import annotations

from collections.abc import Iterable

from daypass.rules.models import NamesIn
from daypass.rules.patterns import Model


def names_in(models: Iterable[Model]) -> NamesIn:
    """Return the names of a kind in a namespace, of these."""
    exist = frozenset(models)
    return lambda *place: {model.name for model in exist if model[:2] == place}
