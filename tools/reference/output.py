"""docs/reference/output.md, and the JSON Schema of what commands print with -o json."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tools.reference.commands import command_modules
from tools.reference.markdown import code

from daypass.cli.output import ErrorOutput, TokenOutput, camel_case
from daypass.rules.reasons import Reason

Schema = dict[str, Any]
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}

ERROR = "With `-o json` or `-o yaml`, an error is data too: one document on stderr."


def make_schema() -> dict[str, Any]:
    """Return the schema, made from the types that commands print."""
    types_: dict[str, Any] = {}
    commands = {name: _schema(kind, types_) for name, kind in output_types().items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the commands of daypass print with -o json and -o yaml",
        "description": "$defs has the output of each command by its name, such as `identity show`,"
        " and the types that these refer to, which begin with a capital letter.",
        "$defs": {**commands, **dict(sorted(types_.items()))},
    }


def output_types() -> dict[str, Any]:
    """Return what each command prints as data, by its name; `error`: what any of them may."""
    modules = {" ".join(path): module for path, module in command_modules().items()}
    found = {name: it.OUTPUT for name, it in modules.items() if hasattr(it, "OUTPUT")}
    return dict(sorted({**found, "token": TokenOutput}.items())) | {"error": ErrorOutput}


def _schema(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type; those of classes that it refers to are added to `found`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {"description": arguments[1], **_schema(arguments[0], found)}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(each, found) for each in arguments]}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": _schema(arguments[0], found)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], found)}
    if kind is Any:
        return {}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if kind is datetime:
        return {"type": "string", "format": "date-time"}
    if issubclass(kind, StrEnum):
        return {"enum": [str(each) for each in kind]}
    if kind.__name__ not in found:
        found[kind.__name__] = {}  # it may refer to itself
        found[kind.__name__] = _object(kind, found)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _object(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    names = {name: camel_case(name) if is_dataclass(kind) else name for name in hints}
    return {
        "description": " ".join((kind.__doc__ or "").split()),
        "type": "object",
        "additionalProperties": False,
        "required": list(names.values()),
        "properties": {names[name]: _schema(hint, found) for name, hint in hints.items()},
    }


def schema() -> str:
    """Return the text of `output.schema.json`, which a release and the site have."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """Return what each command prints, and a section for each type."""
    known = make_schema()["$defs"]
    commands = {name: each for name, each in known.items() if name[0].islower()}
    kinds = {name: each for name, each in known.items() if name not in commands}
    error = commands.pop("error")
    lines = [
        f"- [{code(name)}](commands.md#daypass-{name.replace(' ', '-')}): {_type(each)}"
        for name, each in commands.items()
    ]
    return "\n\n".join(
        (
            "\n".join(lines),
            f"{ERROR} It is {_type(error)}.",
            *(part for name, each in kinds.items() for part in _kind(name, each)),
        )
    )


def _kind(name: str, described: Schema) -> Iterator[str]:
    """Yield the description of one type."""
    yield f"## {name}"
    yield described["description"]
    yield "\n".join(
        f"- {code(key)}, {_type(each)}: {each['description']}"
        for key, each in described["properties"].items()
    )


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
    if field.get("type") == "object":
        values = field["additionalProperties"]
        return f"mapping to {_type(values)}" if values else "an object of Kubernetes"
    if field.get("format") == "date-time":
        return "time"
    return str(field["type"])


if __name__ == "__main__":
    print(schema(), end="")
