"""One YAML document: plain values for the sections, and where in the file each of them is.

PyYAML parses it. Anchors, aliases, tags and merge keys are errors, and so are a key that is there
twice and characters that change the direction of text: what a reviewer reads in the file is what
is meant. Scalars are those of YAML 1.2: `on`, `yes`, `1:30`, `010`, `0x10`, `1_000` and dates are
text.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from daypass._core.text import mask_unprintable
from daypass.config.errors import Mark, Problems, shown

Location: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document to a value."""

# A lone `\r`, U+0085 and U+2028 end a line for YAML, and for no editor. CVE-2021-42574 is about
# direction.
_REFUSED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WORDS = {"true": True, "false": False} | dict.fromkeys(("", "~", "null", "Null", "NULL"))
_BEGIN = "begin it with: version: 1"
_SYNTAX_HINT = (
    "check indentation, quotes and brackets here and before;"
    " addresses like '[::1]:80' and values with ': ' need quotes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a value is in the file. `location`: as far as the file has it."""

    location: Location
    key_mark: Mark
    mark: Mark
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The values of a file, and their places."""

    data: dict[str, Any]
    root: Node
    empty: list[Location] = field(default_factory=list)
    """Keys and list items without a value."""

    def find(self, location: Location) -> Position:
        """Return the place of a value, or of the nearest one around it.

        Steps that the document does not have are left out: pydantic's locations have the name of
        a section that was selected, and `[key]`.
        """
        key, node, value = self.root, self.root, self.data
        found: list[str | int] = []
        for step in location:
            below = _child(node, step)
            if below is not None:
                key, node = below
                value = value[step]  # type: ignore[index]
                found.append(step)
        return Position(
            location=tuple(found),
            key_mark=_mark(key.start_mark),
            mark=_mark(node.start_mark),
            value=value,
        )


def _child(node: Node, step: str | int) -> tuple[Node, Node] | None:
    """Return the key and the value at a step; for a list item, it twice."""
    if isinstance(node, MappingNode):
        return next(((k, v) for k, v in node.value if k.value == step), None)
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def described(value: Any) -> str:
    """Return what a message calls a value: `the text 'x'`, `the number 5`, `a list`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {shown(value)}" if value else "an empty text"
        case int() | float():
            return f"the number {shown(str(value))[1:-1]}"
        case dict():
            return "a mapping" if value else "an empty mapping"
    return "a list" if value else "an empty list"


def read_document(content: bytes, problems: Problems) -> Document:
    """Return the one document of a file, whose top level is a mapping.

    Notes the problems after which reading can go on; raises ConfigError for the others.
    """
    try:
        root = _Loader(_decode(content, problems)).get_single_node()
    except yaml.YAMLError as error:
        _stop_at(error, problems)
    except (ValueError, RecursionError):  # an escape beyond Unicode
        problems.stop((1, 1), "invalid YAML")
    if root is None or (isinstance(root, ScalarNode) and _scalar(root) is None):
        problems.stop(_mark(root.start_mark) if root else (1, 1), "the file is empty", _BEGIN)
    document = Document(data={}, root=root)
    data = _value(root, (), document, problems)
    if not isinstance(data, dict):
        found = f"a config is a mapping, not {described(data)}"
        problems.stop(_mark(root.start_mark), found, _BEGIN)
    document.data.update(data)
    return document


def _decode(content: bytes, problems: Problems) -> str:
    """Return the text of a file. Raises ConfigError unless it is plain UTF-8."""
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        problems.stop(_mark_after(before), "the file is not UTF-8", "save it as UTF-8")
    if match := _REFUSED.search(text):
        message = f"the character U+{ord(match[0]):04X} is not allowed"
        problems.stop(_mark_after(text[: match.start()]), message, "remove it")
    return text


def _mark_after(before: str) -> Mark:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _mark(mark: Any) -> Mark:
    return mark.line + 1, mark.column + 1


class _RefusedError(yaml.MarkedYAMLError):
    """YAML that is not read here, although PyYAML could. `note` is the hint."""


def _stop_at(error: yaml.YAMLError, problems: Problems) -> NoReturn:
    """Raise ConfigError for what the parser refuses, mostly in PyYAML's words."""
    assert isinstance(error, yaml.MarkedYAMLError)  # noqa: S101 - others are about characters
    at = error.problem_mark or error.context_mark
    mark = (1, 1) if at is None else _mark(at)
    if isinstance(error, _RefusedError):
        problems.stop(mark, error.problem or "", error.note or "")
    if error.context == "while scanning an alias":
        problems.stop(mark, "invalid YAML: an unquoted * begins an alias", "write '*' in quotes")
    message = f"invalid YAML: {error.problem}"
    if error.context:
        begun = f" from line {error.context_mark.line + 1}" if error.context_mark else ""
        message = f"invalid YAML: {error.context}{begun}: {error.problem}"
    problems.stop(mark, mask_unprintable(message), _SYNTAX_HINT)


class _Loader(yaml.SafeLoader):
    """PyYAML's composer, without YAML's references and types."""

    peek_event: Any

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, AliasEvent):
            alias = f"aliases are not supported: {shown(f'*{event.anchor}')}"
            self._refuse(event, alias, "write the value out, or quote the text")
        if event.anchor is not None:
            anchor = f"anchors are not supported: {shown(f'&{event.anchor}')}"
            self._refuse(event, anchor, "write the value out wherever it is needed")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self._refuse(event, f"tags are not supported: {shown(tag)}", "remove it")
        return super().compose_node(parent, index)

    def _refuse(self, event: Any, problem: str, hint: str) -> NoReturn:
        raise _RefusedError(problem=problem, problem_mark=event.start_mark, note=hint)


def _value(node: Node, location: Location, document: Document, problems: Problems) -> Any:
    """Return the dict, tuple or scalar of a node, and note what is wrong with its keys."""
    if isinstance(node, SequenceNode):
        items = enumerate(node.value)
        return tuple(_value(item, (*location, at), document, problems) for at, item in items)
    if not isinstance(node, MappingNode):
        if (value := _scalar(node)) is None:
            document.empty.append(location)
        return value
    found: dict[str, Any] = {}
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        mark, key = _mark(key_node.start_mark), key_node.value
        if not isinstance(key_node, ScalarNode):
            problems.add(mark, "a key is a text", "is a quote missing?")
        elif key == "<<" and not key_node.style:
            problems.add(mark, "merge keys (<<) are not supported", "write the keys out")
        elif key in found:
            problems.add(mark, f"the key {shown(key)} is already on line {first[key]}")
        else:
            first[key] = mark[0]
            found[key] = _value(value_node, (*location, key), document, problems)
    return found


def _scalar(node: Any) -> Any:
    """Return the value of a scalar; whatever stands in quotes or in a block is text.

    A number with a point or an exponent is a float, which hardly anything in a config takes.
    """
    text = str(node.value)
    if node.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
