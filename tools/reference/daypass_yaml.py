"""docs/reference/daypass-yaml.md: every key of the config file, from its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tools.reference.markdown import code, table

from daypass._core.duration import format_duration
from daypass._core.k8s_names import LABEL, LABEL_KEY, LABEL_VALUE, SUBDOMAIN
from daypass._core.token_request import AUDIENCE
from daypass.config import json_schema
from daypass.config.locations import ADDRESS, PREFIX, FilePath, HttpsOrigin, Issuer, UpstreamOrigin
from daypass.config.types import (
    HEADER,
    IMAGE,
    SIZE,
    USER,
    GatewayName,
    GuardedHost,
    Host,
    IpAddress,
    format_size,
)

Schema = dict[str, Any]


def _pattern(annotated: Any) -> str:
    return str(annotated.__metadata__[-1].json_schema["pattern"])


TYPES = {
    f"^(?:{LABEL})$": "name",
    f"^(?:{SUBDOMAIN})$": "object name",
    f"^(?:{LABEL_VALUE})$": "label value",
    f"^({LABEL_VALUE})?$": "label value",
    f"^(?:{LABEL_KEY})$": "label key",
    f"^(?:{AUDIENCE})$": "audience",
    f"^(?:{USER})$": "user name",
    f"^(?:{HEADER})$": "header name",
    f"^(?:{IMAGE})$": "image with tag or digest",
    f"^(?:{PREFIX})$": "path",
    f"^(?:{ADDRESS})$": "HOST:PORT",
    _pattern(Host): "host",
    _pattern(GuardedHost): "host, or `*`",
    _pattern(IpAddress): "IP address",
    _pattern(GatewayName): "NAMESPACE/NAME[/LISTENER]",
    _pattern(HttpsOrigin): "https URL without a path",
    _pattern(UpstreamOrigin): "http, https or h2c URL without a path",
    _pattern(Issuer): "issuer",
    _pattern(FilePath): "file",
}
"""What the pattern of a text stands for, as the page calls it."""


def page() -> str:
    """Return the sections of the page, one for each mapping of the file."""
    schema = json_schema()
    paths: dict[str, str] = {}
    sections = list(_walk("", schema, schema["$defs"], paths))
    return "\n\n".join(_section(path, section, paths) for path, section in sections)


def _walk(
    path: str, section: Schema, known: Schema, paths: dict[str, str]
) -> Iterator[tuple[str, Schema]]:
    """Yield each mapping of the file with its path, and those within it; each kind once.

    `paths` gets the path of each kind.
    """
    yield path, section
    for key, field in section["properties"].items():
        kinds = [kind for kind in _kinds(field) if kind not in paths]
        below = f"{path}.{key}".lstrip(".") + (".NAME" if "patternProperties" in field else "")
        paths |= dict.fromkeys(kinds, below)
        inner = [known[kind] for kind in kinds]
        if len(inner) > 1:  # one of several: their keys together
            keys = {key: each for one in inner for key, each in _with_purpose(one).items()}
            yield from _walk(below, {**field, "properties": keys}, known, paths)
        elif inner:
            yield from _walk(below, inner[0], known, paths)


def _with_purpose(section: Schema) -> Schema:
    """Return the keys of a section, each with what the section is."""
    return {
        key: {**field, "description": f"{section['description']} {field['description']}"}
        for key, field in section["properties"].items()
    }


def _kinds(field: Schema) -> list[str]:
    """Return the names of the sections that may be the value of a key."""
    choices = [field, field.get("items", {}), *field.get("oneOf", ())]
    choices += field.get("patternProperties", {}).values()
    return [each["$ref"].rpartition("/")[2] for each in choices if "$ref" in each]


def _section(path: str, section: Schema, paths: dict[str, str]) -> str:
    rows = [
        (code(key), _linked(field, paths), _default(key, field, section), field["description"])
        for key, field in section["properties"].items()
    ]
    heading = f"## {code(path)}\n\n{section['description']}" if path else "## Top level"
    return f"{heading}\n\n{table(('key', 'value', 'default', 'description'), rows)}"


def _linked(field: Schema, paths: dict[str, str]) -> str:
    """Return what may be written as a value, with a link to the section that describes it."""
    kinds = _kinds(field)
    if not kinds:
        return _value(field)
    anchor = re.sub(r"[^a-z]", "", paths[kinds[0]].lower())
    return _value(field).replace("mapping", f"[mapping](#{anchor})")


def _default(key: str, field: Schema, section: Schema) -> str:
    if key in section.get("required", ()):
        return "required"
    value = field.get("default")
    if value is None:
        return ""
    if _value(field).startswith("duration"):
        return code(format_duration(value))
    if _value(field).startswith("size"):
        return code(format_size(value))
    return code(str(value).lower() if isinstance(value, bool) else value)


def _value(field: Schema) -> str:
    """Return what may be written as the value of a key."""
    if "enum" in field:
        return ", ".join(map(code, field["enum"]))
    if "const" in field:
        return code(field["const"])
    if "anyOf" in field:
        return _spelled(*field["anyOf"])
    if "oneOf" in field:
        return "mapping, or " + ", ".join(_value(one) for one in field["oneOf"] if "const" in one)
    kind = field.get("type", "object")
    if kind == "array":
        return f"list of: {_value(field['items'])}"
    if kind == "integer":
        return f"{field['minimum']} to {field['maximum']}"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "string":
        return TYPES.get(field["pattern"], "text")
    return "mapping" if _kinds(field) or "$ref" in field else "labels"


def _spelled(text: Schema, number: Schema) -> str:
    """Return the name of a text with a unit, and its bounds."""
    if "maximum" not in number:
        return "quantity"
    is_size = text["pattern"] == f"^{SIZE}$"
    name, shown = ("size", format_size) if is_size else ("duration", format_duration)
    return f"{name}, {shown(number['minimum'])} to {shown(number['maximum'])}"
