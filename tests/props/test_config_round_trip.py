"""A config that is written and read again is the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from daypass._core.clock import format_duration, parse_duration
from daypass.config import Config, json_schema, parse
from daypass.config.schema import level_at, levels, name_of
from daypass.deploy.openings import ended, openings, widened
from support.config_documents import documents, lifetimes


class Quoting(yaml.SafeDumper):
    """Quotes every text that holds a digit: PyYAML writes YAML 1.1, where `0E0` is a text; in YAML
    1.2, which we read, it is a number."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(character.isdigit() for character in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Quoting.add_representer(str, _text)

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def read(document: dict[str, Any]) -> Config:
    text = yaml.dump(document, Dumper=Quoting, sort_keys=False, allow_unicode=True, width=10_000)
    return parse(text.encode(), name="daypass.yaml", folder=Path("/x"))


@settings(max_examples=50)
@given(documents())
def test_a_valid_config_survives_a_round_trip(document: dict[str, Any]) -> None:
    config = read(document)
    written = config.model_dump(mode="json", exclude_none=True)
    assert read(written) == config
    VALIDATOR.validate(document)
    VALIDATOR.validate(written)


@settings(max_examples=20)
@given(documents())
def test_a_config_opens_nothing_and_ends_nothing_once_it_is_stored(
    document: dict[str, Any],
) -> None:
    now = openings(read(document))
    stored = json.loads(json.dumps(now))
    assert (widened(stored, now), ended(stored, now)) == ([], [])


@given(lifetimes)
def test_a_duration_survives_a_round_trip(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


Key = tuple[str, str, str]
"""Level, what selects one of its sections, and key."""


def known_keys() -> Iterator[Key]:
    for name, level in levels().items():
        for kind in level.kinds or [""]:
            yield from ((name, kind, key) for key in level.known(kind))


def keys_in(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[Key]:
    level = level_at(at)
    if isinstance(value, dict):
        if level.fields:
            kind = level.selected_in(value)
            yield from ((name_of(at), kind, key) for key in value)
        for key, each in value.items():
            yield from keys_in(each, (*at, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from keys_in(each, (*at, number))


def test_every_key_is_in_some_config_of_these_tests() -> None:
    seen = set[Key]()
    only_generate = settings(phases=[Phase.generate], derandomize=True, max_examples=250)

    @only_generate
    @given(documents())
    def look(document: dict[str, Any]) -> None:
        seen.update(keys_in(document))

    look()
    for key in sorted({*known_keys()} - seen):  # by chance, or since no generator makes it
        seen.update(keys_in(config_with(key, only_generate)) if key not in seen else ())
    assert sorted({*known_keys()} - seen) == [], "extend support/config_documents.py"
    assert seen <= {*known_keys()}


def config_with(key: Key, options: settings) -> dict[str, Any]:
    """A config that has a key; empty if none is found."""

    def has_it(document: dict[str, Any]) -> bool:
        return key in {*keys_in(document)}

    try:
        return find(documents(), has_it, settings=settings(options, max_examples=1000))
    except NoSuchExample:
        return {}
