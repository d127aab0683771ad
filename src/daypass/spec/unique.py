"""Lists in which nothing stands twice."""

from typing import TypeVar

from daypass.spec.faults import fault
from daypass.spec.wording import shown

T = TypeVar("T")


def unique(items: tuple[T, ...]) -> tuple[T, ...]:
    """The items, or a fault at the second of two equal ones."""
    seen: set[T] = set()
    for index, item in enumerate(items):
        if item in seen:
            raise fault(f"{shown(str(item))} is listed twice", at=(index,))
        seen.add(item)
    return items
