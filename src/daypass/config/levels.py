"""The keys that each mapping of the file may have, by its level, such as `domains.NAME.tls`.

They are read from the types of the sections. A level may become one of several sections; pydantic's
locations then have a tag after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import Discriminator
from pydantic.fields import FieldInfo

from daypass.config.models import Config
from daypass.config.types import Section, SelectedBy
from daypass.config.yaml_loader import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLevel:
    """What a mapping of the file may hold: by key, the field of the first section that has it.

    `selected_by`: what selects one of several sections, those of `kinds`.
    """

    fields: dict[str, FieldInfo] = field(default_factory=dict)
    is_union: bool = False
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

    def owners(self, key: str) -> list[str]:
        """Return what selects the sections that have a key."""
        return [value for value, kind in self.kinds.items() if key in _fields_of(kind)]


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
            level = replace(level, is_union=True, selected_by=note, kinds=kinds)
        elif isinstance(note, Discriminator):
            level = replace(level, is_union=True)
    if level.is_union:
        found[name] = level
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
