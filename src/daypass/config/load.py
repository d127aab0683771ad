"""From `daypass.yaml` to a Config, or to one error with everything that is wrong with it.

1. `document` reads the file into values and their places.
2. pydantic validates the values.
3. Its errors become problems with line, column and a remedy.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from daypass._core.files import UnsafeFileError, read_ordinary
from daypass._core.hints import command
from daypass._core.text import did_you_mean, suggest
from daypass.config.config import VERSION, Config
from daypass.config.document import Document, Location, Position, described, read_document
from daypass.config.errors import EXPECTED, FAULT, Problems, one_of, shown
from daypass.config.schema import level_at

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
    found = [(error, *_place(error, document)) for error in errors]
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
        problems.add(mark, *_words(error, location, place, document))


def _place(error: ErrorDetails, document: Document) -> tuple[Location, Position]:
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


def _words(
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
