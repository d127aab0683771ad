"""What the API server would refuse, all of it in one error."""

from __future__ import annotations

from collections.abc import Sequence

from daypass._core.errors import DaypassError
from daypass._core.status import printable
from daypass.deploy.identifier import Identifier
from daypass.kube.errors import ApiError, ConflictError


class OwnedError(DaypassError):
    """Fields that somebody else has set, to something else; a line for each."""

    def __init__(self, owners: Sequence[str]) -> None:
        super().__init__(
            "somebody else has set what this would set otherwise: nothing was applied",
            "\n".join([*owners, "leave it to them, or take it over: --force-conflicts"]),
        )
        self.args = (owners,)


class RefusedError(DaypassError):
    """Objects that the API server would not take; nothing was applied."""


def raise_troubles(troubles: Sequence[ApiError]) -> None:
    """Raise RefusedError where there are any: each once, with what to do about it."""
    if troubles:
        (fact, hint), *rest = dict.fromkeys((error.fact, error.hint) for error in troubles)
        lines = [hint, *(line for pair in rest for line in pair), "nothing was applied"]
        raise RefusedError(fact, "\n".join(line for line in lines if line))


def owners_of(identifier: Identifier, error: ConflictError) -> tuple[str, ...]:
    """A line for each field: the API server names the manager in words, in quotes."""
    details = error.status.document.get("details") or {}
    return tuple(
        f"{identifier}: {printable(str(cause.get('field')))} is"
        f" {printable(str(cause.get('message'))).removeprefix('conflict with ')}'s"
        for cause in details.get("causes") or ()
        if cause.get("reason") == "FieldManagerConflict"
    ) or (f"{identifier}: {error.status.message}",)
