"""A YAML document as a tree in which every node knows its line and column.

Plain values, no references: what `composing` makes, `explain` points into, and the model reads
through `data`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from daypass.spec.scalars import Value, described

Mark: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

Way: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document to a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode:
    """Text, a number, a boolean, or nothing."""

    mark: Mark
    value: Value

    def __str__(self) -> str:
        return described(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNode:
    """A YAML sequence."""

    mark: Mark
    items: "tuple[Node, ...]"

    def __str__(self) -> str:
        return "a list" if self.items else "an empty list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value of a mapping and the place of its key."""

    key_mark: Mark
    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapNode:
    """A YAML mapping, in the order of the file."""

    mark: Mark
    entries: dict[str, Entry]

    def __str__(self) -> str:
        return "a mapping" if self.entries else "an empty mapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenNode:
    """A node whose problem is already noted: nothing more is said about it."""

    mark: Mark


Node: TypeAlias = ScalarNode | ListNode | MapNode | BrokenNode


class _Nothing:
    """Stands for a value that is not there or not readable: no type of the model takes it."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def data(node: Node) -> Any:
    """Dicts, tuples and scalars for the model to validate."""
    match node:
        case MapNode():
            return {key: data(entry.node) for key, entry in node.entries.items()}
        case ListNode():
            return tuple(data(item) for item in node.items)
        case ScalarNode(value=value) if value is not None:
            return value
    return NOTHING


def is_nothing(node: Node) -> bool:
    """Whether there is no value to check."""
    return isinstance(node, BrokenNode) or (isinstance(node, ScalarNode) and node.value is None)


def empty_values(node: Node, way: Way = ()) -> Iterator[tuple[Way, Mark]]:
    """Each key or list item that has no value, with the place of the key."""
    if isinstance(node, MapNode):
        for key, entry in node.entries.items():
            if isinstance(entry.node, ScalarNode) and entry.node.value is None:
                yield (*way, key), entry.key_mark
            yield from empty_values(entry.node, (*way, key))
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            if isinstance(item, ScalarNode) and item.value is None:
                yield (*way, index), item.mark
            yield from empty_values(item, (*way, index))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a way leads: as far as the document goes along with it."""

    way: Way
    node: Node
    key_mark: Mark
    complete: bool


def locate(root: MapNode, way: Sequence[str | int]) -> Place:
    """The node at the end of a way, or the last one before the way leaves the document."""
    node: Node = root
    key_mark = root.mark
    for count, step in enumerate(way):
        following = _step(node, step)
        if following is None:
            return Place(way=tuple(way[:count]), node=node, key_mark=key_mark, complete=False)
        key_mark, node = following.key_mark, following.node
    return Place(way=tuple(way), node=node, key_mark=key_mark, complete=True)


def _step(node: Node, step: str | int) -> Entry | None:
    if isinstance(node, MapNode) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
        return Entry(key_mark=node.items[step].mark, node=node.items[step])
    return None
