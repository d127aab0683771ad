"""Which keys exist on which level of the file, to say what was meant by an unknown one."""

from collections.abc import Sequence
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from daypass.spec.cluster import Cluster
from daypass.spec.config import Config
from daypass.spec.domain import EXAMPLE, Domain
from daypass.spec.door import Door, Limits
from daypass.spec.gate import Gate, IdentityHeaders
from daypass.spec.local import Local
from daypass.spec.policy import Policy
from daypass.spec.section import Section, key_of
from daypass.spec.tls import WAYS, TlsFilePair
from daypass.spec.wording import folded, nearest, one_of, shown

_SECTIONS: dict[str, type[Section]] = {
    "": Config,
    "cluster": Cluster,
    "domains.NAME": Domain,
    "domains.NAME.tls.files": TlsFilePair,
    "door": Door,
    "policy": Policy,
    "gate": Gate,
    "gate.headers": IdentityHeaders,
    "limits": Limits,
    "local": Local,
}

KEYS: dict[str, tuple[str, ...]] = {
    level: tuple(key_of(name) for name in section.model_fields)
    for level, section in _SECTIONS.items()
} | {"domains.NAME.tls": tuple(WAYS)}
"""The keys of each level, by its path; `domains` has keys of the writer's own."""


def level_of(way: Sequence[str | int]) -> str:
    """The level that a way leads to, in the names of KEYS."""
    steps = [
        "NAME" if index == 1 and way[0] == "domains" else str(step)
        for index, step in enumerate(way)
    ]
    return ".".join(steps)


def field_of(way: Sequence[str | int]) -> FieldInfo | None:
    """The model's field at a way; None where there is none."""
    level = level_of(way[:-1])
    section = WAYS.get(str(way[-1])) if level == "domains.NAME.tls" else _SECTIONS.get(level)
    fields = section.model_fields.items() if section else ()
    return next((field for name, field in fields if key_of(name) == way[-1]), None)


def example_of(way: Sequence[str | int]) -> object:
    """What can be written at a way: all words it knows, or an example; None if there is none."""
    if level_of(way) == "domains.NAME":
        return EXAMPLE
    field = field_of(way)
    if field is None:
        return None
    if get_origin(field.annotation) is Literal:
        return " | ".join(map(str, get_args(field.annotation)))
    return field.examples[0] if field.examples else None


def meant(key: str, level: str) -> str | None:
    """The key of this level that was probably meant."""
    return nearest(key, KEYS.get(level, ()))


def remedy(key: str, level: str) -> str:
    """What to do about an unknown key: the nearest here, the level it belongs to, or all keys."""
    if near := meant(key, level):
        return f"did you mean {shown(near)}?"
    elsewhere = [
        other or "the top level"
        for other, keys in KEYS.items()
        if other != level and folded(key) in map(folded, keys)
    ]
    if elsewhere:
        return f"it belongs to {one_of(elsewhere)}"
    return f"known here: {', '.join(KEYS[level])}" if level in KEYS else "remove it"
