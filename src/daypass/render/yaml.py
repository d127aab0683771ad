"""Objects as YAML, for people and any parser: the same bytes for the same objects."""

from collections.abc import Iterable
from typing import Any

import yaml

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _ReadableDumper(_DUMPER):  # type: ignore[misc]
    """No anchors; multi-line strings as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ReadableDumper.add_representer(str, _represent_str)


def document(value: Any, *, ascii_only: bool = False) -> str:
    """Return one document; mappings keep their order, and lines are not wrapped.

    `ascii_only`: escape all other characters, some of which steer a terminal.
    """
    text = yaml.dump(
        value, Dumper=_ReadableDumper, sort_keys=False, width=2**20, allow_unicode=not ascii_only
    )
    return str(text)


def stream(values: Iterable[Any]) -> str:
    """Return several documents, for `kubectl apply -f -`."""
    return "".join(f"---\n{document(value)}" for value in values)
