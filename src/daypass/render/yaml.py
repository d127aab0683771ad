"""Objects as YAML: the same bytes for the same objects, to be read by people and by any parser.

Objects as YAML, the same bytes for the same objects.
"""

from collections.abc import Iterable
from typing import Any

import yaml

from daypass.render.objects import Object

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Readable(_DUMPER):  # type: ignore[misc]
    """No anchors; texts of several lines as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)


def document(value: Object) -> str:
    """One object: `apiVersion`, `kind`, `metadata` first, and each mapping in the order it has."""
    return str(yaml.dump(value, Dumper=_Readable, sort_keys=False, width=4096, allow_unicode=True))


def stream(values: list[Object]) -> str:
    """Several objects, for `kubectl apply -f -`."""
    return "".join(f"---\n{document(value)}" for value in values)


def to_yaml(documents: Iterable[dict[str, Any]]) -> str:
    """A stream of documents, keys in the order in which they were made, long lines unbroken."""
    text: str = yaml.safe_dump_all(
        documents,
        sort_keys=False,
        allow_unicode=True,
        width=2**20,  # a line end in an expression would be one more thing to read wrongly
        explicit_start=True,
    )
    return text
