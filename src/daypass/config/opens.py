"""How a change of a key can open more of a cluster. Each key of the config is marked with one.

`daypass apply` asks for confirmation by these marks (`deploy/openings.py`).
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Opens(NamedTuple):
    """Marks a key by what opens more. `change`: any other value. `more`: a higher number, or none.
    `added`, `removed`: such an entry or section. `laxer`: a later value in `order`.

    A mark on a list, or on a section that `never` opens, is for all keys in it.
    """

    by: Literal["never", "change", "more", "added", "removed", "laxer"]
    order: tuple[str | bool, ...] = ()


NEVER, CHANGED, HIGHER = Opens("never"), Opens("change"), Opens("more")
ADDED, REMOVED = Opens("added"), Opens("removed")

Enabled: TypeAlias = Annotated[bool, Opens("laxer", (False, True))]
Harmless: TypeAlias = Annotated[T, NEVER]
Changed: TypeAlias = Annotated[T, CHANGED]
Higher: TypeAlias = Annotated[T, HIGHER]
Added: TypeAlias = Annotated[T, ADDED]
Removed: TypeAlias = Annotated[T, REMOVED]
