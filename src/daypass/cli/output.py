"""Objects of Kubernetes on stdout, as `kubectl apply -f -` takes them.

A table in text: columns as wide as what is in them, as kubectl draws them.

What subcommands say alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from daypass._core.text import printable
from daypass.cli import log, write
from daypass.kube.resources import without_server_fields


def put_objects(documents: Sequence[dict[str, Any]], output: str) -> None:
    """Print objects as `yaml` (documents) or `json` (a List), without what a server adds."""
    cleaned = [without_server_fields(document) for document in documents]
    if output == "json":
        whole = {"apiVersion": "v1", "kind": "List", "items": cleaned}
        write(json.dumps(whole, indent=2) + "\n")
        return
    import yaml

    write(yaml.safe_dump_all(cleaned, sort_keys=False))


GAP = "   "
LONGEST_CELL_CHARACTERS = 4000


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines, each with its newline. What would steer a terminal is taken out of the cells."""
    lines = [
        headings,
        *([printable(cell, LONGEST_CELL_CHARACTERS) for cell in row] for row in rows),
    ]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    return "".join(
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def warn(fact: str, hint: str = "") -> None:
    """Something to know that keeps nothing from being done."""
    log(f"warning: {fact}", hint)
