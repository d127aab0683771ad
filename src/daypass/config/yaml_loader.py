"""From the bytes of a file to text: UTF-8, nothing invisible, no tab, not too long.

What a scalar of YAML means: the JSON subset of YAML 1.2, and nothing that surprises.

`on`, `yes`, `no`, `off`, `1:30`, `010`, `0x10`, `1_000` and dates are text. YAML 1.1, which PyYAML
itself follows, reads them as booleans, as 90, 8, 16, 1000 and as dates.

A YAML document as a tree in which every node knows its line and column.

Plain values, no references: what `composing` makes, `explain` points into, and the model reads
through `data`.

What the YAML parsers say, in the words of somebody who edits the file.

Reading YAML by its events: bounded, with positions, and without its programming language.

Anchors, aliases, merge keys and tags are refused: what a reviewer reads in the file is what holds,
and a small file stays a small value ("billion laughs" needs an alias). Every bound is checked while
events arrive, so no input is read much further than the first broken one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

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

from daypass._core.text import mask_unprintable
from daypass.config.errors import Problems, shown

LIMIT_BYTES = 256 * 1024
"""A config of a hundred domains is about 20 KiB."""

_REFUSED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": ("the file begins with a byte order mark", "save it as UTF-8 without one"),
    b"\xff\xfe": ("the file is UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("the file is UTF-16", "save it as UTF-8"),
}


def decoded(content: bytes, problems: Problems) -> str:
    """The text of a file, its lines ended by newlines. Raises ConfigError, naming the place.

    Only what YAML and every editor count as one line ends a line, so that positions are right:
    `\\r\\n` is read as a newline, other line ends (a lone `\\r`, U+0085, U+2028) are refused, and
    so are characters that turn the direction of text (CVE-2021-42574).
    """
    if len(content) > LIMIT_BYTES:
        problems.stop(
            (0, 0),
            f"larger than {LIMIT_BYTES // 1024} KiB, which no config is",
            "is this the right file?",
        )
    for mark, (message, hint) in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            problems.stop((1, 1), message, hint)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        problems.stop(
            _mark_after(before),
            f"the byte 0x{content[error.start]:02x} is not UTF-8",
            "save it as UTF-8",
        )
    text = text.replace("\r\n", "\n")
    if match := _REFUSED.search(text):
        _refuse(text[: match.start()], match.group(), problems)
    return text


def _refuse(before: str, character: str, problems: Problems) -> NoReturn:
    if character == "\t":
        problems.stop(_mark_after(before), "a tab", "write spaces: YAML is indented with them")
    if character == "\r":
        problems.stop(_mark_after(before), "a carriage return alone", "end lines with a newline")
    problems.stop(
        _mark_after(before), f"the character U+{ord(character):04X} does not print", "remove it"
    )


def _mark_after(before: str) -> tuple[int, int]:
    """Line and column of what follows some text, from 1."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


Value: TypeAlias = str | int | float | bool | None

LIMIT_CHARACTERS = 4096
"""Longer than any value that makes sense (a certificate authority is a file's name)."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
}


def resolve(text: str, *, plain: bool) -> Value:
    """The value of a scalar; whatever stands in quotes or in a block is text.

    A number is an int if it has no point, no exponent and fits into 64 bits; other numbers become
    floats, which nothing in a config takes, so that the message can call them numbers.
    """
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) < 400 and _NUMBER.fullmatch(text):
        return float(text)
    return text


def described(value: Value) -> str:
    """What a message calls a value: `the text 'x'`, `the number 5`, `true`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {shown(value)}" if value else "an empty text"
    return f"the number {value}"


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
class MapEntry:
    """A value of a mapping and the place of its key."""

    key_mark: Mark
    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapNode:
    """A YAML mapping, in the order of the file."""

    mark: Mark
    entries: dict[str, MapEntry]

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
class NodeLocation:
    """Where a way leads: as far as the document goes along with it."""

    way: Way
    node: Node
    key_mark: Mark
    complete: bool


def locate(root: MapNode, way: Sequence[str | int]) -> NodeLocation:
    """The node at the end of a way, or the last one before the way leaves the document."""
    node: Node = root
    key_mark = root.mark
    for count, step in enumerate(way):
        following = _step(node, step)
        if following is None:
            return NodeLocation(
                way=tuple(way[:count]), node=node, key_mark=key_mark, complete=False
            )
        key_mark, node = following.key_mark, following.node
    return NodeLocation(way=tuple(way), node=node, key_mark=key_mark, complete=True)


def _step(node: Node, step: str | int) -> MapEntry | None:
    if isinstance(node, MapNode) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
        return MapEntry(key_mark=node.items[step].mark, node=node.items[step])
    return None


GOES_ON = "the value goes on over the next line"
"""Begins the message for a plain scalar of several lines, nearly always a wrong indentation."""


class _Rule(NamedTuple):
    """For a parser's complaint that matches: what to say, and whether to point at the opening."""

    complaint: str
    message: str
    hint: str = ""
    at_opening: bool = False


_RULES = (
    _Rule("scanning an? (alias|anchor)", "a value that begins with {here} needs quotes"),
    _Rule(
        "mapping values are not allowed",
        "there is one colon too many here",
        "put the value in quotes, or check the indentation of this line and the one before",
    ),
    _Rule(
        "sequence entries are not allowed",
        "a list cannot begin here",
        "put '- ...' on a line of its own, or write [a, b]",
    ),
    _Rule(
        "quoted scalar.*end of stream",
        "the quote that is opened here is never closed",
        at_opening=True,
    ),
    _Rule(
        "quoted scalar",
        "an escape in the quoted text makes no sense",
        "in single quotes nothing is escaped",
    ),
    _Rule("cannot start any token", "a value cannot begin with {here}", "put it in quotes"),
    _Rule("flow node.*(after|found|expected)", "a value is missing here", "{brackets}"),
    _Rule(
        "flow (sequence|mapping)",
        "a bracket opened on line {since} is not closed, or a comma is missing",
        "{brackets}",
    ),
    _Rule(
        "expected ':'|simple key",
        "this line has no colon with a space after it",
        "write: key: value",
        at_opening=True,
    ),
    _Rule(
        "block (mapping|collection|sequence)",
        "a key or list item was expected here",
        "check the indentation, and the quotes and brackets before it",
    ),
    _Rule("maximum nesting", "this is nested too deep"),
    _Rule("directive", "a YAML directive (%...)", "remove the line"),
)


def explain_syntax(error: yaml.YAMLError, text: str, problems: Problems) -> NoReturn:
    """Raise ConfigError for what a parser could not read."""
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    complaint = f"{getattr(error, 'context', None) or ''} {said}"
    mark = _problem_mark(getattr(error, "problem_mark", None)) or (0, 0)
    opening = _problem_mark(getattr(error, "context_mark", None)) or mark
    last = problems.last
    if "mapping values" in complaint and last and last.message.startswith(GOES_ON):
        problems.raise_all()  # the colon that is too many belongs to the line that was swallowed
    for rule in _RULES:
        if re.search(rule.complaint, complaint, re.DOTALL):
            brackets = re.search(r"\[[0-9a-f.]*:[0-9a-f:.]*\]", _line(text, mark[0]))
            words = {
                "here": _character(text, mark),
                "since": str(opening[0]),
                "brackets": "an IPv6 address needs quotes" if brackets else "",
            }
            problems.stop(
                opening if rule.at_opening else mark,
                rule.message.format(**words),
                rule.hint.format(**words),
            )
    problems.stop(mark, f"this is not YAML: {mask_unprintable(said.splitlines()[0])[:120]}")


def _problem_mark(mark: yaml.Mark | None) -> Mark | None:
    return None if mark is None else (mark.line + 1, mark.column + 1)


def _line(text: str, line: int) -> str:
    lines = text.split("\n", line)
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _character(text: str, mark: Mark) -> str:
    """The character at a mark, or the one before it where an alias or anchor began."""
    line, column = _line(text, mark[0]), mark[1]
    before = line[column - 2 : column - 1] if column > 1 else ""
    return shown(before if before in ("*", "&") and before else line[column - 1 : column])


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
        entries: dict[str, MapEntry] = {}
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
                entries[key] = MapEntry(key_mark=_mark(event), node=value)
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
