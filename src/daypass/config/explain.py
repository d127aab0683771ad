"""Which keys exist on which level of the file, to say what was meant by an unknown one.

pydantic's errors as problems of a file: each with its line, column, and a remedy.

pydantic says where by keys and list positions, and what by a type of error; both are turned into
the words of somebody who edits the file. No message of pydantic's own is shown.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from daypass._core.text import normalize_key, suggest
from daypass.config.base import Section, key_of
from daypass.config.domain import EXAMPLE, WAYS, Domain, TlsFilePair
from daypass.config.errors import (
    EXPECTED,
    FAULT,
    LIMIT_SHOWN,
    SAME_HOST,
    Problems,
    one_of,
    shown,
)
from daypass.config.gate import Gate, IdentityHeaders
from daypass.config.models import ClusterConfig, Config, Door, Limits, Local, Policy
from daypass.config.yaml_loader import (
    ListNode,
    MapNode,
    Mark,
    Node,
    NodeLocation,
    ScalarNode,
    Way,
    empty_values,
    is_nothing,
    locate,
)

_SECTIONS: dict[str, type[Section]] = {
    "": Config,
    "cluster": ClusterConfig,
    "domains.NAME": Domain,
    "domains.NAME.tls.files": TlsFilePair,
    "door": Door,
    "policy": Policy,
    "gate": Gate,
    "gate.headers": IdentityHeaders,
    "limits": Limits,
    "local": Local,
}

KEYS: dict[str, tuple[str, ...]] = {
    level: tuple(key_of(name) for name in section.model_fields)
    for level, section in _SECTIONS.items()
} | {"domains.NAME.tls": tuple(WAYS)}
"""The keys of each level, by its path; `domains` has keys of the writer's own."""


def level_of(way: Sequence[str | int]) -> str:
    """The level that a way leads to, in the names of KEYS."""
    steps = [
        "NAME" if index == 1 and way[0] == "domains" else str(step)
        for index, step in enumerate(way)
    ]
    return ".".join(steps)


def field_of(way: Sequence[str | int]) -> FieldInfo | None:
    """The model's field at a way; None where there is none."""
    level = level_of(way[:-1])
    section = WAYS.get(str(way[-1])) if level == "domains.NAME.tls" else _SECTIONS.get(level)
    fields = section.model_fields.items() if section else ()
    return next((field for name, field in fields if key_of(name) == way[-1]), None)


def example_of(way: Sequence[str | int]) -> object:
    """What can be written at a way: all words it knows, or an example; None if there is none."""
    if level_of(way) == "domains.NAME":
        return EXAMPLE
    field = field_of(way)
    if field is None:
        return None
    if get_origin(field.annotation) is Literal:
        return " | ".join(map(str, get_args(field.annotation)))
    return field.examples[0] if field.examples else None


def meant(key: str, level: str) -> str | None:
    """The key of this level that was probably meant."""
    return suggest(key, KEYS.get(level, ()))


def remedy(key: str, level: str) -> str:
    """What to do about an unknown key: the nearest here, the level it belongs to, or all keys."""
    if near := meant(key, level):
        return f"did you mean {shown(near)}?"
    elsewhere = [
        other or "the top level"
        for other, keys in KEYS.items()
        if other != level and normalize_key(key) in map(normalize_key, keys)
    ]
    if elsewhere:
        return f"it belongs to {one_of(elsewhere)}"
    return f"known here: {', '.join(KEYS[level])}" if level in KEYS else "remove it"


_EXPECTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """An error of pydantic's and where it leads to in the document."""

    error: ErrorDetails
    way: Way
    place: NodeLocation
    mark: Mark


def explain(errors: Sequence[ErrorDetails], root: MapNode, problems: Problems) -> None:
    """Note a problem for each error, and for each key without a value."""
    findings = [_finding(error, root) for error in errors]
    unknown = {f.way for f in findings if f.error["type"] == "extra_forbidden"}
    for way, mark in empty_values(root):
        if way not in unknown:
            problems.add(mark, *_without_value(way))
    findings = [f for f in findings if f.way in unknown or not _silent(f)]
    findings.sort(key=lambda finding: finding.mark)
    misspelt = {
        (*f.way[:-1], meant(str(f.way[-1]), level_of(f.way[:-1])))
        for f in findings[:LIMIT_SHOWN]
        if f.way in unknown
    }
    findings = [f for f in findings if f.error["type"] != "missing" or f.way not in misspelt]
    for finding in findings[:LIMIT_SHOWN]:
        problems.add(finding.mark, *_words(finding))
    for finding in findings[LIMIT_SHOWN:]:
        # Only counted: finding words (the nearest key) for thousands would take seconds.
        problems.add(finding.mark, "")


def dotted(way: Sequence[str | int]) -> str:
    """A way as people write it: `policy.audiences[0]`."""
    text = ""
    for step in way:
        text += f"[{step}]" if isinstance(step, int) else f".{shown(step)[1:-1]}"
    return text.lstrip(".")


def _finding(error: ErrorDetails, root: MapNode) -> _Finding:
    location = error["loc"]
    unknown = error["type"] == "extra_forbidden"
    of_key = _is_of_key(error)
    if location[:1] == ("domains",) and location[2:3] == ("tls",):
        location = location[:3] + location[4:]  # without pydantic's mark for the way in the union
    way: Way = location[:-1] if of_key else (*location, *error.get("ctx", {}).get("at", ()))
    place = locate(root, way)
    at_key = unknown or of_key or not place.complete or isinstance(place.node, MapNode)
    mark = place.key_mark if at_key else place.node.mark
    return _Finding(error=error, way=way, place=place, mark=mark)


def _is_of_key(error: ErrorDetails) -> bool:
    """Whether pydantic means the name of a domain; in a domain, `[key]` is but an unknown key."""
    location = error["loc"]
    in_domains = len(location) == 3 and location[0] == "domains" and location[2] == "[key]"
    return in_domains and error["type"] != "extra_forbidden"


def _silent(finding: _Finding) -> bool:
    """Whether the error is only a consequence of a problem that is noted anyway."""
    if finding.error["type"] in ("default_factory_not_called", SAME_HOST):
        return True
    node = finding.place.node
    if finding.error["type"] == "too_short" and isinstance(node, ListNode) and node.items:
        return True  # pydantic counts those that are good
    return is_nothing(finding.place.node) and not _is_of_key(finding.error)


def _without_value(way: Way) -> tuple[str, str]:
    """Message and hint for a key or list item with nothing behind it."""
    if isinstance(way[-1], int):
        return f"{dotted(way)} is an empty list item", "remove it"
    example, field = example_of(way), field_of(way)
    needed = field is not None and field.is_required()
    remedies = [] if example is None else [f"write {way[-1]}: {_flow(example)}"]
    remedies += [] if needed else ["leave the key out"]
    return f"{dotted(way)} has no value", ", or ".join(remedies)


def _words(finding: _Finding) -> tuple[str, str]:
    """Message and hint."""
    error, way = finding.error, finding.way
    kind, context = error["type"], error.get("ctx", {})
    name = dotted(way)
    prefix = f"{name}: " if name else ""
    if kind == FAULT:
        return f"{prefix}{context['message']}", context["hint"]
    if kind == "extra_forbidden":
        return f"unknown key {shown(str(way[-1]))}", remedy(str(way[-1]), level_of(way[:-1]))
    if kind == "missing":
        return f"{name} is missing", _missing_hint(way)
    found = finding.place.node
    if kind == EXPECTED:
        return f"{prefix}expected {context['what']}, found {found}", ""
    if kind in _EXPECTED:
        return f"{prefix}expected {_EXPECTED[kind]}, found {found}", _type_hint(kind, found)
    if kind == "literal_error":
        return _choice(prefix, context["expected"], found)
    return f"{prefix}{_bounds(kind, context, found)}", ""


def _bounds(kind: str, context: dict[str, Any], found: Node) -> str:
    if kind == "greater_than_equal":
        return f"{found} is less than {context['ge']}"
    if kind == "less_than_equal":
        return f"{found} is more than {context['le']}"
    if kind == "too_short":
        return f"{found}, where at least one entry is needed"
    if kind == "too_long":
        return f"more than {context['max_length']} entries"
    return f"{found} is not valid here ({kind})"


def _choice(prefix: str, expected: str, found: Node) -> tuple[str, str]:
    words = re.findall(r"'([^']*)'", expected)
    if not words:  # the version
        return f"{prefix}expected {expected}, found {found}", f"write {expected}, with no quotes"
    text = found.value if isinstance(found, ScalarNode) and isinstance(found.value, str) else ""
    near = suggest(text, words)
    hint = f"did you mean {shown(near)}?" if near else ""
    return f"{prefix}expected {one_of(words)}, found {found}", hint


def _missing_hint(way: Way) -> str:
    if way == ("version",):
        return "begin the file with: version: 1"
    example = example_of(way)
    return "" if example is None else f"write {way[-1]}: {_flow(example)}"


def _type_hint(kind: str, found: Node) -> str:
    value = found.value if isinstance(found, ScalarNode) else None
    if kind == "string_type" and value is not None:
        return "put it in quotes"
    if kind == "int_type" and isinstance(value, str):
        digits = value.replace("_", "").lstrip("+0")
        return (
            f"write {digits[:20]}, with no quotes" if digits.isascii() and digits.isdigit() else ""
        )
    if kind == "bool_type" and isinstance(value, str):
        words = {"true": "yes on true y", "false": "no off false n"}
        return next(
            (f"write {w}" for w, said in words.items() if value.lower() in said.split()), ""
        )
    if kind == "tuple_type" and value is not None:
        return f"write [{shown(str(value))[1:-1]}]"
    return ""


def _flow(example: object) -> str:
    """An example as YAML on one line, with as few quotes as it takes."""
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in example.items()) + "}"
    if isinstance(example, list):
        return "[" + ", ".join(map(_flow, example)) + "]"
    return example if isinstance(example, str) else json.dumps(example)
