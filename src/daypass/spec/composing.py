"""Reading YAML by its events: bounded, with positions, and without its programming language.

Anchors, aliases, merge keys and tags are refused: what a reviewer reads in the file is what holds,
and a small file stays a small value ("billion laughs" needs an alias). Every bound is checked while
events arrive, so no input is read much further than the first broken one.
"""

import re
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from daypass.spec.document import BrokenNode, Entry, ListNode, MapNode, Mark, Node, ScalarNode
from daypass.spec.problems import Problems
from daypass.spec.scalars import LIMIT_CHARACTERS, resolve
from daypass.spec.syntax import GOES_ON, explain_syntax
from daypass.spec.wording import shown

LIMIT_NODES = 10_000
LIMIT_DEPTH = 32
_SURROGATE = re.compile("[\ud800-\udfff]")


class PurePythonParser(Reader, Scanner, Parser):
    """PyYAML's own parser, for where it was built without libyaml."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)


PARSER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else PurePythonParser
"""Used for its events only."""


def compose(text: str, problems: Problems) -> MapNode:
    """The one document of a text, whose top level is a mapping.

    Mistakes after which reading can go on are noted in `problems`, the others raise ConfigError.
    """
    try:
        return _Composer(text, problems).document()
    except yaml.YAMLError as error:
        explain_syntax(error, text, problems)
    except (ValueError, OverflowError):
        # The pure parser: chr() of an escape out of range, int() of a directive's version.
        problems.stop((0, 0), "this is not YAML: an escape or a directive makes no sense")


class _Composer:
    def __init__(self, text: str, problems: Problems) -> None:
        self._parser = PARSER(text)
        self._problems = problems
        self._nodes = 0
        self._aliases: set[str | None] = set()

    def document(self) -> MapNode:
        self._next()  # the start of the stream
        start = self._next()
        if not isinstance(start, DocumentStartEvent):
            self._problems.stop((1, 1), "the file is empty", "begin it with: version: 1")
        if start.version or start.tags:
            self._problems.stop(_mark(start), "a YAML directive (%...)", "remove the line")
        root = self._node(self._next(), depth=1)
        self._next()  # the end of the document
        following = self._next()
        if not isinstance(following, StreamEndEvent):
            self._problems.stop(
                _mark(following), "a second document begins here", "one file holds one config"
            )
        if isinstance(root, MapNode):
            return root
        if isinstance(root, ScalarNode) and root.value is None:
            self._problems.stop(root.mark, "the file is empty", "begin it with: version: 1")
        what = "" if isinstance(root, BrokenNode) else f", not {root}"
        self._problems.stop(root.mark, f"a config is a mapping{what}", "begin it with: version: 1")

    def _next(self) -> Event:
        event: Event = self._parser.get_event()
        return event

    def _node(self, event: Event, *, depth: int) -> Node:
        self._count(event, depth)
        if isinstance(event, AliasEvent):
            if event.anchor not in self._aliases:
                self._problems.add(
                    _mark(event),
                    f"aliases are not read: {shown(f'*{event.anchor}')}",
                    "write the value out, or quote the text",
                )
            self._aliases.add(event.anchor)
            return BrokenNode(mark=_mark(event))
        self._check_properties(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, depth=depth)
        if isinstance(event, SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(item := self._next(), SequenceEndEvent):
                items.append(self._node(item, depth=depth + 1))
            return ListNode(mark=_mark(event), items=tuple(items))
        return self._scalar(event)

    def _count(self, event: Event, depth: int) -> None:
        self._nodes += 1
        if self._nodes > LIMIT_NODES:
            self._problems.stop(
                _mark(event), f"more than {LIMIT_NODES} values, which no config has"
            )
        if depth > LIMIT_DEPTH:
            self._problems.stop(_mark(event), f"nested deeper than {LIMIT_DEPTH} levels")

    def _check_properties(self, event: Any) -> None:
        if event.anchor is not None:
            self._problems.add(
                _mark(event),
                f"anchors are not read: {shown(f'&{event.anchor}')}",
                "write the value out wherever it is needed",
            )
        if event.tag is not None:
            self._problems.add(
                _mark(event), f"tags are not read: {shown(_tag(event.tag))}", "remove it"
            )

    def _scalar(self, event: Any) -> ScalarNode | BrokenNode:
        mark = _mark(event)
        plain = event.implicit[0] and event.style in (None, "")
        if self._unreadable(event):
            return BrokenNode(mark=mark)
        if plain and event.start_mark.line != event.end_mark.line:
            self._problems.add(
                mark,
                f"{GOES_ON}: {shown(event.value)}",
                f"check the indentation of line {mark[0] + 1}",
            )
            return BrokenNode(mark=mark)
        return ScalarNode(mark=mark, value=resolve(event.value, plain=plain))

    def _unreadable(self, event: Any) -> bool:
        length = len(event.value)
        if length > LIMIT_CHARACTERS:
            self._problems.add(
                _mark(event),
                f"a value of {length} characters",
                f"at most {LIMIT_CHARACTERS} make sense",
            )
        elif surrogate := _SURROGATE.search(event.value):
            # An escape that only the pure parser lets through, and that no UTF-8 can hold.
            self._problems.add(_mark(event), f"U+{ord(surrogate[0]):04X} is half a character")
        else:
            return False
        return True

    def _mapping(self, start: Event, *, depth: int) -> MapNode:
        entries: dict[str, Entry] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, depth=depth + 1)
            value = self._node(self._next(), depth=depth + 1)
            if key is None:
                continue
            if first := entries.get(key):
                self._problems.add(
                    _mark(event), f"the key {shown(key)} is already on line {first.key_mark[0]}"
                )
            else:
                entries[key] = Entry(key_mark=_mark(event), node=value)
        return MapNode(mark=_mark(start), entries=entries)

    def _key(self, event: Event, *, depth: int) -> str | None:
        """The text of a key, as it is written (`true:` is the key 'true'); None if unusable."""
        if not isinstance(event, ScalarEvent):
            node = self._node(event, depth=depth)
            if not isinstance(node, BrokenNode):
                self._problems.add(node.mark, f"a key is a text, not {node}", "is a quote missing?")
            return None
        self._count(event, depth)
        self._check_properties(event)
        if self._unreadable(event):
            return None
        if event.value == "<<" and event.implicit[0]:
            self._problems.add(_mark(event), "merge keys (<<) are not read", "write the keys out")
            return None
        return str(event.value)


def _mark(event: Any) -> Mark:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _tag(tag: str) -> str:
    return "!!" + tag.removeprefix("tag:yaml.org,2002:") if tag.startswith("tag:") else tag
