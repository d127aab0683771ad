"""Objects as YAML, the same bytes for the same objects."""

from collections.abc import Iterable
from typing import Any

import yaml


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
