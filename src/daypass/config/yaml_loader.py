"""One YAML document of plain values, in which every value knows its line and column.

PyYAML parses and composes it, in Python alone: its messages are the same with and without libyaml.
On top of that: bounds that are checked while events arrive, and only what JSON can hold. Anchors,
aliases, tags, merge keys and directives are errors, so what a reviewer reads in the file is what is
meant, and a small file stays small in memory ("billion laughs" needs an alias). `on`, `yes`,
`1:30`, `010`, `0x10`, `1_000` and dates are text, as in YAML 1.2; PyYAML itself would read them as
booleans, as 90, 8, 16, 1000 and as dates.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import yaml
from yaml.composer import Composer
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from daypass._core.text import mask_unprintable
from daypass.config.errors import Mark, Problems, shown

LIMIT_BYTES = 256 * 1024
"""A config of a hundred domains is about 20 KiB."""
LIMIT_NODES = 10_000
LIMIT_DEPTH = 32
LIMIT_CHARACTERS = 4096
"""Longer than any value that makes sense (a certificate authority is a file's name)."""

Location: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document to a value, as in pydantic's `loc`."""

_REFUSED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": ("the file begins with a byte order mark", "save it as UTF-8 without one"),
    b"\xff\xfe": ("the file is UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("the file is UTF-16", "save it as UTF-8"),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_BEGIN = "begin it with: version: 1"
_SYNTAX_HINT = (
    "check indentation, quotes and brackets here and before;"
    " addresses like '[::1]:80' and values with ': ' need quotes"
)


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands for a value that is empty or not usable: no type of the model accepts it."""

_WORDS = {"true": True, "false": False} | dict.fromkeys(("", "~", "null", "Null", "NULL"), MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedValue:
    """A value in the document. A list item's key mark is that of its value."""

    key_mark: Mark
    mark: Mark
    value: Any
    is_broken: bool = False
    """Whether a problem of this value has been noted, so that nothing more needs saying."""


class Document:
    """The values for the model to validate, and where in the file each of them is."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self._places: dict[Location, MarkedValue] = {}

    def add(self, location: Location, place: MarkedValue) -> None:
        """Remember where a value is."""
        self._places[location] = place

    def find(self, location: Location) -> tuple[MarkedValue, bool]:
        """Return the place of a value, or of the nearest one around it, and whether it is exact."""
        end = len(location)
        while location[:end] not in self._places:
            end -= 1
        return self._places[location[:end]], end == len(location)

    def empty_values(self) -> Iterator[tuple[Location, Mark]]:
        """Yield each key and list item without a value."""
        for location, place in self._places.items():
            if place.value is MISSING and not place.is_broken:
                yield location, place.key_mark


def described(value: Any) -> str:
    """Return what a message calls a value: `the text 'x'`, `the number 5`, `a list`."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {shown(value)}" if value else "an empty text"
        case int() | float():
            return f"the number {value}"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case tuple():
            return "a list" if value else "an empty list"
    return "nothing"


def read_document(content: bytes, problems: Problems) -> Document:
    """Return the one document of a file, whose top level is a mapping.

    Notes the problems after which reading can go on; raises ConfigError for the others.
    """
    text = _decode(content, problems)
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        _stop_at(error, problems)
    except (ValueError, OverflowError):  # chr() and int() of what the scanner has read
        problems.stop(_mark(loader.get_mark()), "invalid YAML: a bad escape or directive")
    if root is None or (isinstance(root, ScalarNode) and _scalar(root) is MISSING):
        problems.stop(_mark(root.start_mark) if root else (1, 1), "the file is empty", _BEGIN)
    document = Document()
    data = _Reader(document, problems).read(root, (), _mark(root.start_mark))
    if not isinstance(data, dict):
        found = "" if data is MISSING else f", not {described(data)}"
        problems.stop(_mark(root.start_mark), f"a config is a mapping{found}", _BEGIN)
    document.data = data
    return document


def _decode(content: bytes, problems: Problems) -> str:
    """Return the text of a file, its lines ended by newlines. Raises ConfigError.

    Only what YAML and every editor count as one line ends a line, so that positions are right:
    `\\r\\n` is read as a newline, other line ends (a lone `\\r`, U+0085, U+2028) are refused, and
    so are characters that turn the direction of text (CVE-2021-42574).
    """
    if len(content) > LIMIT_BYTES:
        limit = f"is larger than {LIMIT_BYTES} bytes"
        problems.stop((0, 0), limit, "is it the right file?")
    for mark, (message, hint) in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            problems.stop((1, 1), message, hint)
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        byte = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        problems.stop(_mark_after(before), byte, "save it as UTF-8")
    if match := _REFUSED.search(text):
        character = match.group()
        message, hint = {
            "\t": ("a tab", "write spaces: YAML is indented with them"),
            "\r": ("a carriage return without a newline", "end lines with a newline"),
        }.get(character, (f"the character U+{ord(character):04X} is not printable", "remove it"))
        problems.stop(_mark_after(text[: match.start()]), message, hint)
    return text


def _mark_after(before: str) -> Mark:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _mark(mark: Any) -> Mark:
    return mark.line + 1, mark.column + 1


class _RefusedError(yaml.MarkedYAMLError):
    """YAML that is not read here, although PyYAML could. `note` is the hint."""


def _stop_at(error: yaml.YAMLError, problems: Problems) -> NoReturn:
    """Raise ConfigError for what the parser or the composer refuses, mostly in PyYAML's words."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    at = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    mark = (1, 1) if at is None else _mark(at)
    if isinstance(error, _RefusedError):
        problems.stop(mark, problem, error.note or "")
    context = getattr(error, "context", None)
    if context == "while scanning an alias":
        problems.stop(mark, "invalid YAML: an unquoted * begins an alias", "write '*' in quotes")
    if context:
        begun = getattr(error, "context_mark", None)
        since = f" from line {begun.line + 1}" if begun and begun.line + 1 != mark[0] else ""
        problem = f"{context}{since}: {problem}"
    message = mask_unprintable(f"invalid YAML: {problem}".splitlines()[0])[:200]
    problems.stop(mark, message, _SYNTAX_HINT)


class _Loader(Reader, Scanner, Parser, Composer):
    """PyYAML's composer, within bounds, and without YAML's references, types and directives."""

    peek_event: Any

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        self._nodes = 0
        self._depth = 0

    def compose_document(self) -> Any:
        start = self.peek_event()
        if start.version or start.tags:
            self._refuse(start, "YAML directives (%...) are not supported", "remove the line")
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        self._nodes += 1
        if self._nodes > LIMIT_NODES:
            self._refuse(event, f"more than {LIMIT_NODES} values, the limit for a config", "")
        if self._depth == LIMIT_DEPTH:
            self._refuse(event, f"nested deeper than {LIMIT_DEPTH} levels", "")
        if isinstance(event, AliasEvent):
            alias = f"aliases are not supported: {shown(f'*{event.anchor}')}"
            self._refuse(event, alias, "write the value out, or quote the text")
        if event.anchor is not None:
            anchor = f"anchors are not supported: {shown(f'&{event.anchor}')}"
            self._refuse(event, anchor, "write the value out wherever it is needed")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self._refuse(event, f"tags are not supported: {shown(tag)}", "remove it")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, event: Any, problem: str, hint: str) -> NoReturn:
        raise _RefusedError(problem=problem, problem_mark=event.start_mark, note=hint)

    def descend_resolver(self, *_: object) -> None:
        """There are no tags to resolve."""

    ascend_resolver = descend_resolver

    def resolve(self, *_: object) -> str:
        """Return no tag: `_scalar` decides what a scalar is."""
        return ""


class _Reader:
    """Turns nodes into data, and notes the place and the problems of each value."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self._document = document
        self._problems = problems

    def read(self, node: Node, location: Location, key_mark: Mark) -> Any:
        """Return the dict, tuple or scalar of a node; MISSING for none."""
        mark, is_broken = _mark(node.start_mark), False
        value: Any = MISSING
        if isinstance(node, MappingNode):
            value = self._mapping(node, location)
        elif isinstance(node, SequenceNode):
            value = tuple(
                self.read(item, (*location, index), _mark(item.start_mark))
                for index, item in enumerate(node.value)
            )
        elif isinstance(node, ScalarNode):
            is_broken = self._is_broken(node) or self._is_folded(node)
            value = MISSING if is_broken else _scalar(node)
        place = MarkedValue(key_mark=key_mark, mark=mark, value=value, is_broken=is_broken)
        self._document.add(location, place)
        return value

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node.start_mark)
            if not isinstance(key_node, ScalarNode):
                kind = "a mapping" if isinstance(key_node, MappingNode) else "a list"
                self._problems.add(mark, f"a key is a text, not {kind}", "is a quote missing?")
            elif self._is_broken(key_node):
                pass
            elif key_node.value == "<<" and not key_node.style:
                self._problems.add(mark, "merge keys (<<) are not supported", "write the keys out")
            elif (key := str(key_node.value)) in values:
                first, _ = self._document.find((*location, key))
                self._problems.add(
                    mark, f"the key {shown(key)} is already on line {first.key_mark[0]}"
                )
            else:
                values[key] = self.read(value_node, (*location, key), mark)
        return values

    def _is_broken(self, node: ScalarNode) -> bool:
        length = len(node.value)
        if length > LIMIT_CHARACTERS:
            problem = (f"a value of {length} characters", f"the limit is {LIMIT_CHARACTERS}")
        elif surrogate := _SURROGATE.search(node.value):
            # An escape that PyYAML lets through, and that no UTF-8 can hold.
            problem = (f"U+{ord(surrogate[0]):04X} is half of a surrogate pair", "")
        else:
            return False
        self._problems.add(_mark(node.start_mark), *problem)
        return True

    def _is_folded(self, node: ScalarNode) -> bool:
        """Note a plain scalar of several lines: nearly always a wrong indentation."""
        if node.style or node.start_mark.line == node.end_mark.line:
            return False
        mark = _mark(node.start_mark)
        self._problems.add(
            mark,
            f"the value continues on the next line: {shown(node.value)}",
            f"check the indentation of line {mark[0] + 1}",
        )
        return True


def _scalar(node: ScalarNode) -> Any:
    """Return the value of a scalar; whatever stands in quotes or in a block is text.

    A number is an int if it has no point, no exponent and fits into 64 bits; other numbers become
    floats, which nothing in a config takes, so that the message can call them numbers.
    """
    text = str(node.value)
    if node.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) < 400 and _NUMBER.fullmatch(text):
        return float(text)
    return text
