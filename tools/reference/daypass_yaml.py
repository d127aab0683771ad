"""docs/reference/daypass-yaml.md: every key of the config file, from its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tools.reference.markdown import code, table

from daypass._core.clock import format_duration
from daypass._core.kubernetes.syntax import AUDIENCE, LABEL, LABEL_KEY, LABEL_VALUE, SUBDOMAIN
from daypass.config import json_schema
from daypass.config.addresses import (
    ADDRESS,
    PREFIX,
    FilePath,
    GuardedHost,
    Host,
    HttpsOrigin,
    IpAddress,
    Issuer,
    PathForm,
    PlaceForm,
    PublicName,
    UpstreamOrigin,
)
from daypass.config.gate import Account, Verb
from daypass.config.types import (
    HEADER,
    IMAGE,
    USER,
    GatewayName,
    GatewayOrListener,
    Text,
)

Schema = dict[str, Any]

REQUIRED = "required"


def _pattern(annotated: Any) -> str:
    note = annotated.__metadata__[-1]
    schema = note.json_schema() if isinstance(note, Text) else note.json_schema
    return str(schema["pattern"])


TYPES = {
    f"^(?:{LABEL})$": "name",
    f"^(?:{SUBDOMAIN})$": "object name",
    f"^(?:{LABEL_VALUE})$": "label value",
    f"^(?:{LABEL_KEY})$": "label key",
    f"^(?:{AUDIENCE})$": "audience",
    f"^(?:{USER})$": "user name",
    f"^(?:{HEADER})$": "header name",
    f"^(?:{IMAGE})$": "image with tag or digest",
    f"^(?:{PREFIX})$": "path",
    f"^(?:{ADDRESS})$": "HOST:PORT",
    _pattern(Host): "host",
    _pattern(PublicName): "host",
    _pattern(GuardedHost): "host, pattern of hosts, or `*`",
    _pattern(PathForm): "pattern of paths",
    _pattern(PlaceForm): "HOST or HOST/PATH/",
    _pattern(Account): "NAMESPACE/NAME",
    _pattern(Verb): "verb",
    _pattern(IpAddress): "IP address",
    _pattern(GatewayName): "NAMESPACE/NAME",
    _pattern(GatewayOrListener): "NAMESPACE/NAME[/LISTENER]",
    _pattern(HttpsOrigin): "https URL without a path",
    _pattern(UpstreamOrigin): "http, https or h2c URL without a path",
    _pattern(Issuer): "issuer",
    _pattern(FilePath): "file",
}
"""What the pattern of a text stands for, as the page calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mapping:
    """A mapping of the file, and each kind of section that it may be."""

    path: str
    description: str
    kinds: list[Schema]

    @property
    def all_keys(self) -> list[str]:
        """The keys of all kinds, each once."""
        return list(dict.fromkeys(key for kind in self.kinds for key in kind["properties"]))

    def fields(self, key: str) -> list[Schema]:
        """Return what each kind that has a key says about it."""
        return [kind["properties"][key] for kind in self.kinds if key in kind["properties"]]

    @property
    def selector(self) -> str:
        """The key whose value selects one of several kinds; empty if there is none."""
        for key in self.all_keys if len(self.kinds) > 1 else ():
            if ["const" in field for field in self.fields(key)] == [True] * len(self.kinds):
                return key
        return ""

    def by_kind(self, key: str, cell: Callable[[Schema], str]) -> dict[str, str]:
        """Return the kinds that have a key, such as `istio, envoy:`, by what the cell is for it."""
        selector = self.selector
        names: dict[str, list[str]] = {}
        for kind in self.kinds:
            fields = kind["properties"]
            if key in fields:
                name = fields[selector]["const"] if selector else kind["description"]
                names.setdefault(cell(kind), []).append(name)
        every = [kind["properties"][selector]["const"] for kind in self.kinds] if selector else []
        return {
            text: _which(found, every) if selector else found[0] for text, found in names.items()
        }


def _which(found: list[str], every: list[str]) -> str:
    """Return for which kinds something is."""
    others = [each for each in every if each not in found]
    if len(others) == 1 and len(found) > 2:
        return f"not {others[0]}:"
    return f"{', '.join(found)}:"


def page() -> str:
    """Return the sections of the page, one for each mapping of the file."""
    schema = json_schema()
    paths: dict[str, str] = {}
    top = _Mapping(path="", description="", kinds=[schema])
    mappings = list(_walk(top, schema["$defs"], paths))
    return "\n\n".join(_section(mapping, paths) for mapping in mappings)


def _walk(mapping: _Mapping, known: Schema, paths: dict[str, str]) -> Iterator[_Mapping]:
    """Yield each mapping of the file, and those within it; each kind once.

    `paths` gets the path of each kind.
    """
    yield mapping
    for key in mapping.all_keys:
        fields = mapping.fields(key)
        found = dict.fromkeys(name for field in fields for name in _kinds(field))
        names = [name for name in found if name not in paths]
        any_name = ".NAME" if any("patternProperties" in field for field in fields) else ""
        path = f"{mapping.path}.{key}".lstrip(".") + any_name
        paths |= dict.fromkeys(names, path)
        kinds = [known[name] for name in names]
        if kinds:
            about = kinds[0]["description"] if len(kinds) == 1 else ""
            yield from _walk(_Mapping(path=path, description=about, kinds=kinds), known, paths)


def _kinds(field: Schema) -> list[str]:
    """Return the names of the sections that may be the value of a key."""
    choices = [field, field.get("items", {}), *field.get("patternProperties", {}).values()]
    choices += [one for choice in choices for one in choice.get("oneOf", ())]
    return [each["$ref"].rpartition("/")[2] for each in choices if "$ref" in each]


def _section(mapping: _Mapping, paths: dict[str, str]) -> str:
    rows = [_row(mapping, key, paths) for key in mapping.all_keys]
    heading = (
        f"## {code(mapping.path)}\n\n{mapping.description}".rstrip()
        if mapping.path
        else "## Top level"
    )
    return f"{heading}\n\n{table(('key', 'value', 'default', 'description'), rows)}"


def _row(mapping: _Mapping, key: str, paths: dict[str, str]) -> tuple[str, str, str, str]:
    values = mapping.by_kind(key, lambda kind: _linked(kind["properties"][key], paths))
    defaults = mapping.by_kind(key, lambda kind: _default(key, kind["properties"][key], kind))
    value, default = _with_kinds(values), _with_kinds(defaults)
    if key == mapping.selector:
        value = ", ".join(values)
        default = next((text for text in defaults if text != REQUIRED), REQUIRED)
    elif len(mapping.kinds) > 1 and not mapping.selector:  # the keys select, so none is required
        default = ""
    return code(key), value, default, _description(mapping, key)


def _with_kinds(found: dict[str, str]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{kinds} {text}" for text, kinds in found.items() if text)


def _description(mapping: _Mapping, key: str) -> str:
    found = mapping.by_kind(key, lambda kind: str(kind["properties"][key]["description"]))
    if len(found) == 1 and len(mapping.fields(key)) == len(mapping.kinds):
        return next(iter(found))
    return " ".join(f"{kinds} {text}" for text, kinds in found.items())


def _linked(field: Schema, paths: dict[str, str]) -> str:
    """Return what may be written as a value, with a link to the section that describes it."""
    kinds = _kinds(field)
    if not kinds:
        return _value(field)
    anchor = re.sub(r"[^a-z]", "", paths[kinds[0]].lower())
    return _value(field).replace("mapping", f"[mapping](#{anchor})")


def _default(key: str, field: Schema, section: Schema) -> str:
    if key in section.get("required", ()):
        return REQUIRED
    value = field.get("default")
    if value in (None, []):
        return ""
    if _value(field).startswith("duration"):
        return code(format_duration(value))
    return code(str(value).lower() if isinstance(value, bool) else value)


def _value(field: Schema) -> str:
    """Return what may be written as the value of a key."""
    if "enum" in field:
        return ", ".join(map(code, field["enum"]))
    if "const" in field:
        return code(field["const"])
    if "anyOf" in field:
        return _duration(field["anyOf"][1])
    if "oneOf" in field:
        return ", or ".join(["mapping", *(_value(one) for one in field["oneOf"] if "const" in one)])
    kind = field.get("type", "object")
    if kind == "array":
        return f"list of: {_value(field['items'])}"
    if kind == "integer":
        return f"{field['minimum']} or more"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "string":
        return TYPES.get(field["pattern"], "text")
    if "enum" in field.get("propertyNames", {}):
        return "[fields of a Pod](#pods)"
    for value in field.get("patternProperties", {}).values():
        if value.get("type") == "array":
            return f"mapping to a {_value(value)}"
    return "mapping" if _kinds(field) or "$ref" in field else "labels"


def _duration(number: Schema) -> str:
    """Return the bounds of a duration."""
    shortest, longest = (format_duration(number[each]) for each in ("minimum", "maximum"))
    return f"duration, {shortest} to {longest}"
