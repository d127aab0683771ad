"""From `daypass.yaml` to a Config, or to one error with everything that is wrong with it.

1. `yaml_loader` reads the file into values and their places.
2. pydantic validates the values.
3. Its errors become problems with line, column and a remedy, none of them in pydantic's own words.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from daypass._core.files import UnsafeFileError, read_ordinary
from daypass._core.hints import command
from daypass._core.text import normalize_key, suggest
from daypass.config.domain import EXAMPLE
from daypass.config.errors import (
    EXPECTED,
    FAULT,
    LIMIT_SHOWN,
    SAME_HOST,
    Mark,
    Problems,
    one_of,
    shown,
)
from daypass.config.levels import level_at, levels, name_of
from daypass.config.models import VERSION, Config, repeated_hosts
from daypass.config.yaml_loader import (
    LIMIT_BYTES,
    MISSING,
    Document,
    Location,
    MarkedValue,
    described,
    read_document,
)

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


def load(path: str | os.PathLike[str]) -> Config:
    """Return the config in a file. Files that it names are relative to the folder of that file.

    Raises ConfigError, including for a file that is missing or cannot be read.
    """
    name = os.fspath(path)
    content = _read(name, Problems(name))
    return parse(content, name=name, folder=Path(os.path.abspath(name)).parent)


def parse(text: bytes, *, name: str, folder: Path) -> Config:
    """Return the config in some bytes, without any I/O. Raises ConfigError.

    `name` is what messages call the file; `folder` is what the paths in it are relative to.
    """
    problems = Problems(name)
    document = read_document(text, problems)
    _check_version(document, problems)
    config: Config | None = None
    try:
        config = Config.model_validate(
            document.data, context={"folder": folder}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        _explain(error.errors(include_url=False, include_input=False), document, problems)
    _check_hosts(document, problems)
    problems.raise_any()
    if config is None:
        problems.stop((1, 1), "the config is not valid")
    return config


def _check_version(document: Document, problems: Problems) -> None:
    """Another version's file would be full of unknown keys: only its version is reported."""
    value = document.data.get("version")
    if isinstance(value, int | float) and (type(value) is not int or value != VERSION):
        hint = "is there a newer daypass?" if value > VERSION else f"write version: {VERSION}"
        what = described(value).removeprefix("the number ")
        place, _ = document.find(("version",))
        problems.stop(place.mark, f"version {what} is not known, only {VERSION} is", hint)


def _check_hosts(document: Document, problems: Problems) -> None:
    """Report a host of two domains with both lines, even if there are other mistakes."""
    domains = document.data.get("domains")
    hosts = {
        name: domain["host"]
        for name, domain in (domains.items() if isinstance(domains, dict) else ())
        if isinstance(domain, dict) and isinstance(domain.get("host"), str)
    }
    for later, earlier in repeated_hosts(hosts):
        location = ("domains", later, "host")
        second, _ = document.find(location)
        first, _ = document.find(("domains", earlier, "host"))
        problems.add(
            second.mark,
            f"{_dotted(location)}: {shown(hosts[later])} is already the host of {shown(earlier)}"
            f" on line {first.mark[0]}",
            "a host belongs to one domain",
        )


def _read(name: str, problems: Problems) -> bytes:
    try:
        return read_ordinary(name, limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        problems.stop(
            (0, 0),
            "no such file",
            "ask your administrator for daypass.yaml, or name it with --config FILE; "
            f"`{command('init')}` writes a new one",
        )
    except UnsafeFileError as error:
        problems.stop((0, 0), error.fact.removeprefix(f"{name} "), error.hint)
    except (OSError, ValueError) as error:
        problems.stop((0, 0), f"cannot be read: {_reason(error)}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "its name is not valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """An error of pydantic's, and what is at its place in the document."""

    error: ErrorDetails
    location: Location
    place: MarkedValue
    mark: Mark
    selected: str
    """What selects the section that the error is in, if there are several."""

    @property
    def is_unknown_key(self) -> bool:
        return self.error["type"] == "extra_forbidden"


def _explain(errors: Sequence[ErrorDetails], document: Document, problems: Problems) -> None:
    """Note a problem for each error, and for each key without a value."""
    findings = [_finding(error, document) for error in errors]
    unknown = {finding.location for finding in findings if finding.is_unknown_key}
    for location, mark in document.empty_values():
        if location not in unknown:
            problems.add(mark, *_without_value(location, _selected(location, document)))
    findings = [f for f in findings if f.is_unknown_key or not _is_silent(f)]
    findings.sort(key=lambda finding: finding.mark)
    misspelt = {
        (*f.location[:-1], _near_key(f.location))
        for f in findings[:LIMIT_SHOWN]
        if f.is_unknown_key
    }
    findings = [f for f in findings if f.error["type"] != "missing" or f.location not in misspelt]
    for finding in findings[:LIMIT_SHOWN]:
        problems.add(finding.mark, *_words(finding))
    for finding in findings[LIMIT_SHOWN:]:
        # Only counted: to suggest a key for each of thousands would take seconds.
        problems.add(finding.mark, "")


def _dotted(location: Location) -> str:
    """Return a location as people write it: `policy.audiences[0]`."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{shown(step)[1:-1]}"
    return text.lstrip(".")


def _finding(error: ErrorDetails, document: Document) -> _Finding:
    location = _location(error)
    is_chosen = _is_chosen_key(error)
    location = location[:-1] if is_chosen else (*location, *error.get("ctx", {}).get("at", ()))
    place, is_exact = document.find(location)
    at_key = is_chosen or not is_exact or isinstance(place.value, dict)
    at_key = at_key or error["type"] == "extra_forbidden"
    mark = place.key_mark if at_key else place.mark
    selected = _selected(location, document)
    return _Finding(error=error, location=location, place=place, mark=mark, selected=selected)


def _location(error: ErrorDetails) -> Location:
    """Return the location of an error without pydantic's tags of the sections that are selected."""
    steps: list[str | int] = []
    is_tag = False
    last = len(error["loc"]) - 1
    for index, step in enumerate(error["loc"]):
        is_unknown_key = index == last and error["type"] == "extra_forbidden"
        if not (is_tag and str(step).startswith("<")) or is_unknown_key:
            steps.append(step)
            is_tag = level_at(tuple(steps)).is_union
        else:
            is_tag = False
    return tuple(steps)


def _is_chosen_key(error: ErrorDetails) -> bool:
    """Whether a key of the user's own choice is wrong: the name of a domain, a gate or a label.

    pydantic adds `[key]` to its location. In a section, that is only an unknown key.
    """
    location = _location(error)
    depths = {"domains": (3,), "gates": (3, 5)}.get(str(location[0]) if location else "", (4,))
    chosen = len(location) in depths and location[-1] == "[key]"
    return chosen and error["type"] != "extra_forbidden"


def _is_silent(finding: _Finding) -> bool:
    """Whether the error is only a consequence of a problem that is noted anyway."""
    error, value = finding.error, finding.place.value
    if error["type"] in ("default_factory_not_called", SAME_HOST):
        return True
    if error["type"] == "too_short" and isinstance(value, tuple) and value:
        return True  # pydantic counts those that are valid
    return value is MISSING and not _is_chosen_key(error)


def _example_of(location: Location, selected: str) -> str | None:
    """Return what can be written at a location: its choices or examples; None if unknown."""
    if name_of(location) == "domains.NAME":
        return _flow(EXAMPLE)
    field = _known(location, selected).get(str(location[-1]))
    if field is None:
        return None
    level = level_at(location[:-1])
    if level.selected_by is not None and location[-1] == level.selected_by.key:
        return " | ".join(level.kinds)
    if get_origin(field.annotation) is Literal:
        return " | ".join(map(str, get_args(field.annotation)))
    return " | ".join(map(_flow, field.examples)) if field.examples else None


def _without_value(location: Location, selected: str) -> tuple[str, str]:
    """Message and hint for a key or list item without a value."""
    if isinstance(location[-1], int):
        return f"{_dotted(location)} is an empty list item", "remove it"
    example = _example_of(location, selected)
    field = _known(location, selected).get(str(location[-1]))
    remedies = [] if example is None else [f"write {location[-1]}: {example}"]
    remedies += [] if field is not None and field.is_required() else ["leave the key out"]
    return f"{_dotted(location)} has no value", ", or ".join(remedies)


def _words(finding: _Finding) -> tuple[str, str]:
    """Message and hint."""
    error, location = finding.error, finding.location
    kind, context = error["type"], error.get("ctx", {})
    name = _dotted(location)
    prefix = f"{name}: " if name else ""
    value, found = finding.place.value, described(finding.place.value)
    if kind == FAULT:
        return f"{prefix}{context['message']}", context["hint"]
    if kind == "extra_forbidden":
        if foreign := _foreign_key(finding):
            return foreign
        return f"unknown key {shown(str(location[-1]))}", _remedy(finding)
    if kind == "missing":
        return f"{name} is missing", _missing_hint(finding)
    if kind == EXPECTED:
        return f"{prefix}expected {context['what']}, found {found}", ""
    if kind in _EXPECTED_OF_TYPE:
        wanted = _EXPECTED_OF_TYPE[kind]
        return f"{prefix}expected {wanted}, found {found}", _type_hint(kind, value)
    if kind == "literal_error":
        return _choice(prefix, context["expected"], value)
    bounds = {
        "greater_than_equal": f"{found} is less than {context.get('ge')}",
        "less_than_equal": f"{found} is more than {context.get('le')}",
        "too_short": f"{found}, where at least one entry is needed",
        "too_long": f"more than {context.get('max_length')} entries",
    }
    return f"{prefix}{bounds.get(kind, f'{found} is not valid here ({kind})')}", ""


def _near_key(location: Location) -> str | None:
    """Return the key that was probably meant by the one that a location ends with."""
    return suggest(str(location[-1]), _known(location))


def _remedy(finding: _Finding) -> str:
    """What to do about an unknown key: the nearest here, the level it belongs to, or all keys."""
    location = finding.location
    key, here = str(location[-1]), name_of(location[:-1])
    if near := _near_key(location):
        return f"did you mean {shown(near)}?"
    elsewhere = [
        name or "the top level"
        for name, level in levels().items()
        if name != here and normalize_key(key) in map(normalize_key, level.fields)
    ]
    if elsewhere:
        return f"it belongs to {one_of(elsewhere)}"
    known = _known(location, finding.selected)
    return f"known here: {', '.join(known)}" if known else "remove it"


def _selected(location: Location, document: Document) -> str:
    """Return the value that selects the section that a location is in; empty if none does."""
    around = location[:-1]
    return level_at(around).selected_in(document.find(around)[0].value)


def _known(location: Location, selected: str = "") -> dict[str, FieldInfo]:
    """Return the fields, by key, next to the one at a location: of the section that is selected, or
    else of all that it may be.
    """
    return level_at(location[:-1]).known(selected)


def _foreign_key(finding: _Finding) -> tuple[str, str] | None:
    """Message and hint for a key that only sections have which are not selected."""
    level = level_at(finding.location[:-1])
    owners = level.owners(str(finding.location[-1]))
    if level.selected_by is None or not owners:
        return None
    selection = f"{level.selected_by.key}: {finding.selected}"
    fact = f"{_dotted(finding.location)}: {selection} does not have it"
    return fact, f"leave it out (it is for {', '.join(owners)})"


def _choice(prefix: str, wanted: str, value: Any) -> tuple[str, str]:
    words = re.findall(r"'([^']*)'", wanted)
    found = described(value)
    if not words:  # the version
        return f"{prefix}expected {wanted}, found {found}", f"write {wanted}, with no quotes"
    near = suggest(value, words) if isinstance(value, str) else None
    hint = f"did you mean {shown(near)}?" if near else ""
    return f"{prefix}expected {one_of(words)}, found {found}", hint


def _missing_hint(finding: _Finding) -> str:
    if finding.location == ("version",):
        return "begin the file with: version: 1"
    example = _example_of(finding.location, finding.selected)
    return "" if example is None else f"write {finding.location[-1]}: {example}"


def _type_hint(kind: str, value: Any) -> str:
    if value is MISSING or isinstance(value, dict | tuple):
        return ""
    if kind == "string_type":
        return "put it in quotes"
    if kind == "tuple_type":
        return f"write [{shown(str(value))[1:-1]}]"
    if kind == "int_type" and isinstance(value, str):
        digits = value.replace("_", "").lstrip("+0")
        is_number = digits.isascii() and digits.isdigit()
        return f"write {digits[:20]}, with no quotes" if is_number else ""
    if kind == "bool_type" and isinstance(value, str):
        words = {"true": ("yes", "on", "true", "y"), "false": ("no", "off", "false", "n")}
        return next((f"write {w}" for w, forms in words.items() if value.lower() in forms), "")
    return ""


def _flow(example: object) -> str:
    """Return an example as YAML on one line, with as few quotes as it takes."""
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in example.items()) + "}"
    if isinstance(example, list):
        return "[" + ", ".join(map(_flow, example)) + "]"
    return example if isinstance(example, str) else json.dumps(example)
