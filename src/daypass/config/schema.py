"""The keys of `daypass.yaml`, read from the types of its sections: by level, and as a JSON Schema.

A level is a mapping of the file, such as `domains.NAME.tls`; it may become one of several sections.
The schema is for editors. It accepts more than the parser: JSON Schema has no bounds for durations
as text, and no references from one part of the file to another.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from daypass.config.addresses import Address
from daypass.config.config import Config
from daypass.config.errors import Location
from daypass.config.types import Section, SelectedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLevel:
    """What a mapping of the file may hold: by key, the field of the first section that has it.

    `selected_by`: what selects one of several sections, those of `kinds`.
    """

    fields: dict[str, FieldInfo] = field(default_factory=dict)
    selected_by: SelectedBy | None = None
    kinds: Mapping[str, type[Section]] = field(default_factory=dict)

    def selected_in(self, section: object) -> str:
        """Return what selects the section that a mapping becomes; empty if nothing does."""
        if self.selected_by is None or not isinstance(section, dict):
            return ""
        return str(self.selected_by.value_in(section))

    def known(self, selected: str) -> dict[str, FieldInfo]:
        """Return the fields by key: of the section that is selected, or else of all."""
        return _fields_of(self.kinds[selected]) if selected in self.kinds else self.fields


CHOSEN = "NAME"
"""A key of the user's own choice, in the name of a level."""

_NOTHING = KeyLevel()


@cache
def levels() -> Mapping[str, KeyLevel]:
    """Return all levels by name; the top level has the empty one."""
    found: dict[str, KeyLevel] = {}
    _add(found, "", Config)
    return found


def name_of(location: Location) -> str:
    """Return the name of the level that a location leads to."""
    name = ""
    for step in location:
        chosen = f"{name}.{CHOSEN}"
        if isinstance(step, str):  # the sections of a list are one level
            name = chosen if chosen in levels() else f"{name}.{step}".lstrip(".")
    return name


def level_at(location: Location) -> KeyLevel:
    """Return the level that a location leads to; one without keys, if it leads to a value."""
    return levels().get(name_of(location), _NOTHING)


def _add(found: dict[str, KeyLevel], name: str, annotation: Any) -> None:
    """Add the sections in a type, and all that they may hold, however deep."""
    level = found.get(name, KeyLevel())
    for note in getattr(annotation, "__metadata__", ()):
        if isinstance(note, SelectedBy):
            kinds = note.kinds(annotation.__origin__)
            level = found[name] = replace(level, selected_by=note, kinds=kinds)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        found[name] = level
        for key, info in _fields_of(annotation).items():
            level.fields.setdefault(key, info)
            named = f".{CHOSEN}" if get_origin(info.annotation) is Mapping else ""
            _add(found, f"{name}.{key}{named}".lstrip("."), _whole(info))
    for part in get_args(annotation):
        _add(found, name, part)


def _fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the keys of the file."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


def _whole(info: FieldInfo) -> Any:
    """Return the type of a field with its metadata, which pydantic keeps apart."""
    notes = tuple(info.metadata)
    return Annotated[(info.annotation, *notes)] if notes else info.annotation


ID = "urn:daypass:config:v1"
"""A name, not an address: nobody can register a domain that editors would then ask."""

EDITOR_LINE = "# yaml-language-server: $schema=daypass.schema.json"
"""The first line of a config file: the output of `daypass config schema` is next to it."""


class _SchemaGenerator(GenerateJsonSchema):
    """Allows neither null for optional keys, as a key without a value is a mistake in the file, nor
    keys of a mapping that miss its pattern. Describes keys by the docstrings of their fields.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        written, cls = super().model_schema(schema), schema["cls"]
        described = dict(pair for base in reversed(cls.__mro__) for pair in _docstrings(base))
        written["description"] = _one_line(written["description"])
        for name, info in cls.model_fields.items():
            written["properties"][info.alias or name]["description"] = _one_line(described[name])
        return written

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        written = super().default_schema(schema)
        if written.get("default", ...) is None:
            del written["default"]
        return written

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        written = super().dict_schema(schema)
        if "patternProperties" in written:
            written["additionalProperties"] = False
        return written

    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, Address) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the config file, made from the model."""
    schema = Config.model_json_schema(schema_generator=_SchemaGenerator)
    definitions = schema.pop("$defs")
    schema |= {"title": "daypass.yaml", "$defs": definitions}
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": ID}
    return {**head, **schema}


def _docstrings(section: type) -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of each field in the class statement of a section.

    pydantic's `use_attribute_docstrings` reads them at each start of daypass, for 40 ms.
    """
    if not issubclass(section, Section):
        return
    for pair in pairwise(ast.walk(ast.parse(inspect.getsource(section)))):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(value=str(text))):
                yield name, text


def _one_line(text: str) -> str:
    """Return the words of a docstring."""
    return " ".join(text.split())
