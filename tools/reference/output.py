"""docs/reference/output.md and output.schema.json: what commands print with -o json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tools.reference.markdown import code, table

from daypass.rules.reasons import Reason
from support.output_schema import make_schema

Schema = dict[str, Any]

ERROR = "With `-o json` or `-o yaml`, an error is data too: one document on stderr."


def schema() -> str:
    """Return the JSON Schema of all outputs."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """Return what each command prints, and a section for each type."""
    known = make_schema()["$defs"]
    commands = {name: each for name, each in known.items() if name[0].islower()}
    kinds = {name: each for name, each in known.items() if name not in commands}
    error = commands.pop("error")
    rows = [
        (f"[{code(f'daypass {name}')}](commands.md#daypass-{name.replace(' ', '-')})", _type(each))
        for name, each in commands.items()
    ]
    return "\n\n".join(
        (
            table(("command", "prints"), rows),
            f"{ERROR} It is {_type(error)}.",
            *(part for name, each in kinds.items() for part in _kind(name, each)),
        )
    )


def _kind(name: str, described: Schema) -> Iterator[str]:
    """Yield the description of one type."""
    yield f"## {name}"
    if "description" in described:
        yield described["description"]
    fields = described.get("properties", {})
    if fields:
        rows = [
            (code(key) if key in described.get("required", ()) else f"*{code(key)}*", *_field(each))
            for key, each in fields.items()
        ]
        yield table(("field", "type", "description"), rows)


def _field(field: Schema) -> tuple[str, str]:
    return _type(field), field.get("description", "")


def _type(field: Schema) -> str:
    """Return the type of a value, with links to the types on this page."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(map(_type, field["anyOf"])))
    if "enum" in field:
        if set(field["enum"]) == set(Reason):
            return "a reason of [the gate](messages.md#the-gate)"
        return ", ".join(code(json.dumps(value)) for value in field["enum"])
    if "const" in field:
        return code(json.dumps(field["const"]))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {_type(field['additionalProperties'])}"
    kinds = field.get("type", "any")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)
