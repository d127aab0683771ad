"""From `daypass.yaml` to a Config, or to one error with everything that is wrong with it.

1. PyYAML parses the file: plain values, and where in the file each of them is.
2. pydantic validates the values.
3. Its errors become problems with line, column and a remedy.

Anchors, aliases, tags and merge keys are errors, and so are a key that is there twice and
characters that change the direction of text: what a reviewer reads in the file is what is meant.
Scalars are those of YAML 1.2: `on`, `yes`, `1:30`, `010`, `0x10`, `1_000` and dates are text.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from yaml.events import AliasEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from daypass._core.files import UnsafeFileError, read_ordinary
from daypass._core.hints import command
from daypass._core.text import did_you_mean, mask_unprintable, suggest
from daypass.config.config import VERSION, Config
from daypass.config.errors import EXPECTED, FAULT, Location, Mark, Problems, one_of, shown
from daypass.config.schema import level_at

# A lone `\r`, U+0085 and U+2028 end a line for YAML, and for no editor. CVE-2021-42574 is about
# direction.
_REFUSED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
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
        problems.stop(_mark_after(text[: match.start()]), _not_allowed(match), "remove it")
    return text


def _not_allowed(match: re.Match[str]) -> str:
    return f"the character U+{ord(match[0]):04X} is not allowed"


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
        if isinstance(event, ScalarEvent) and (match := _REFUSED.search(event.value)):  # an escape
            self._refuse(event, _not_allowed(match), "remove it")
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


_EXPECTED_OF_TYPE = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_LIMIT_BYTES = 16 * 1024 * 1024
"""Of a file that is read at all."""


def load(path: str | os.PathLike[str]) -> Config:
    """Return the config in a file. Files that it names are relative to the folder of that file.

    Raises ConfigError, including for a file that is missing or cannot be read.
    """
    name = os.fspath(path)
    problems = Problems(name)
    try:
        content = read_ordinary(name, limit_bytes=_LIMIT_BYTES)
    except FileNotFoundError:
        problems.stop(
            (0, 0),
            "no such file",
            "ask your administrator for daypass.yaml, or name it with --config FILE; "
            f"`{command('init')}` writes a new one",
        )
    except UnsafeFileError as error:
        problems.stop((0, 0), error.fact.removeprefix(f"{name} "), error.hint)
    except OSError as error:
        problems.stop((0, 0), f"cannot be read: {error.strerror}")
    return parse(content, name=name, folder=Path(os.path.abspath(name)).parent)


def parse(text: bytes, *, name: str, folder: Path) -> Config:
    """Return the config in some bytes, without any I/O. Raises ConfigError.

    `name` is what messages call the file; `folder` is what the paths in it are relative to.
    """
    problems = Problems(name)
    document = read_document(text, problems)
    version = document.data.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):  # the rest may have other keys, too
        mark = document.find(("version",)).mark
        problems.stop(mark, f"version: expected 1, found {described(version)}", "write version: 1")
    config = None
    try:
        config = Config.model_validate(
            document.data, context={"folder": folder}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        _explain(error.errors(include_url=False, include_input=False), document, problems)
    for location in document.empty:
        problems.add(document.find(location).key_mark, *_without_value(location, document))
    problems.raise_any()
    assert config is not None  # noqa: S101 - each error of pydantic is a problem
    return config


def _explain(errors: Sequence[ErrorDetails], document: Document, problems: Problems) -> None:
    """Note a problem for each error that is not the consequence of another one."""
    found = [(error, *_position(error, document)) for error in errors]
    misspelt = {
        (*location[:-1], suggest(str(location[-1]), _known(location, document)))
        for error, location, _ in found
        if error["type"] == "extra_forbidden"
    }
    for error, location, place in found:
        is_key = error["type"] == "extra_forbidden" or error["loc"][-1:] == ("[key]",)
        told = {*document.empty, *(misspelt if error["type"] == "missing" else ())}
        if location in told or _follows(error, place):
            continue
        mark = place.key_mark if is_key or isinstance(place.value, dict) else place.mark
        problems.add(mark, *_message_and_hint(error, location, place, document))


def _position(error: ErrorDetails, document: Document) -> tuple[Location, Position]:
    """Return the location of an error as people see it, and the place there or around it."""
    steps = (*error["loc"], *error.get("ctx", {}).get("at", ()))
    place = document.find(steps)
    is_missing = error["type"] == "missing" and place.location[-1:] != steps[-1:]
    return (*place.location, *(steps[-1:] if is_missing else ())), place


def _follows(error: ErrorDetails, place: Position) -> bool:
    """Whether an error is only the consequence of another one."""
    if error["type"] == "too_short":  # pydantic counts the entries that are valid
        return bool(place.value)
    return error["type"] == "default_factory_not_called"


def _dotted(location: Location) -> str:
    """Return a location as people write it: `policy.audiences[0]`."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{shown(step)[1:-1]}"
    return text.lstrip(".")


def _known(location: Location, document: Document) -> dict[str, FieldInfo]:
    """Return the fields that may be next to the one at a location, by key."""
    level = level_at(location[:-1])
    return level.known(level.selected_in(document.find(location[:-1]).value))


def _example_of(location: Location, document: Document) -> str:
    """Return what can be written at a location, as a remedy; empty if that is not known."""
    field, level = _known(location, document).get(str(location[-1])), level_at(location[:-1])
    if level.selected_by is not None and location[-1] == level.selected_by.key:
        choices = [*level.kinds]
    elif field is None:
        return ""
    elif get_origin(field.annotation) is Literal:
        choices = [*map(str, get_args(field.annotation))]
    else:
        choices = [*map(_flow, field.examples or ())]
    return f"write {location[-1]}: {' | '.join(choices)}" if choices else ""


def _without_value(location: Location, document: Document) -> tuple[str, str]:
    """Message and hint for a key or list item without a value."""
    if isinstance(location[-1], int):
        return f"{_dotted(location)} is an empty list item", "remove it"
    field = _known(location, document).get(str(location[-1]))
    remedies = [_example_of(location, document)]
    remedies += [] if field is not None and field.is_required() else ["leave the key out"]
    return f"{_dotted(location)} has no value", ", or ".join(filter(None, remedies))


def _message_and_hint(
    error: ErrorDetails, location: Location, place: Position, document: Document
) -> tuple[str, str]:
    """Message and hint."""
    kind, context = error["type"], error.get("ctx", {})
    name, found = _dotted(location), f"found {described(place.value)}"
    prefix = f"{name}: " if name else ""
    if kind == FAULT:
        return f"{prefix}{context['message']}", context["hint"]
    if kind == "extra_forbidden":
        known = _known(location, document)
        otherwise = f"known here: {', '.join(known)}" if known else "remove it"
        return f"unknown key {shown(str(location[-1]))}", did_you_mean(
            str(location[-1]), known, otherwise
        )
    if kind == "missing":
        return f"{name} is missing", _example_of(location, document)
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(place.value, words, "") if isinstance(place.value, str) else ""
        return f"{prefix}expected {one_of(words)}, {found}", hint
    if kind == EXPECTED:
        return f"{prefix}expected {context['what']}, {found}", ""
    if kind in _EXPECTED_OF_TYPE:
        hint = "put it in quotes" if kind == "string_type" and place.value is not None else ""
        return f"{prefix}expected {_EXPECTED_OF_TYPE[kind]}, {found}", hint
    message = error["msg"].replace("Tuple", "list").replace("Input", "the value")
    return f"{prefix}{message}, {found}", ""


def _flow(example: object) -> str:
    """Return an example as YAML on one line, with as few quotes as it takes."""
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in example.items()) + "}"
    if isinstance(example, list):
        return "[" + ", ".join(map(_flow, example)) + "]"
    return example if isinstance(example, str) else json.dumps(example)
