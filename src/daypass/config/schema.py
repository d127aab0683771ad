"""The JSON Schema of `daypass.yaml`, for editors.

It accepts more than the parser: JSON Schema has no bounds for durations as text, and no references
from one part of the file to another.
"""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from daypass.config.locations import Address
from daypass.config.models import Config
from daypass.config.types import Section

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
        for name, field in cls.model_fields.items():
            written["properties"][field.alias or name]["description"] = described[name]
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
    described: dict[str, Any] = _one_line({**head, **schema})
    return described


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


def _one_line(schema: Any) -> Any:
    """Join the lines of descriptions, which come from docstrings."""
    if isinstance(schema, list):
        return [_one_line(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: " ".join(value.split())
        if key == "description" and isinstance(value, str)
        else _one_line(value)
        for key, value in schema.items()
    }
