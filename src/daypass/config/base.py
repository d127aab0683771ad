"""The base class of all sections of a config: immutable, strict, without unknown keys."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.fields import ComputedFieldInfo, FieldInfo

_UNITS = ("_seconds", "_bytes")


def key_of(name: str) -> str:
    """Return the key of a field in the file: `longest_lifetime_seconds` is `longestLifetime`."""
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return to_camel(name)


def _title(name: str, _: FieldInfo | ComputedFieldInfo) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name.replace("_", " ").capitalize()


class Section(BaseModel):
    """Fields are constructed by their Python names, and read and written by their keys.

    `model_dump(mode="json", exclude_none=True)` gives what a file would hold. Made in Python, a
    section raises pydantic's ValidationError; made from a file, `load` and `parse` raise
    ConfigError.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=key_of,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        field_title_generator=_title,
    )
