"""Objects of Kubernetes on stdout, as `kubectl apply -f -` takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from daypass.cli import put

SERVERS_OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")


def put_objects(documents: Sequence[dict[str, Any]], output: str) -> None:
    """Print objects as `yaml` (documents) or `json` (a List), without what a server adds."""
    cleaned = [_cleaned(document) for document in documents]
    if output == "json":
        whole = {"apiVersion": "v1", "kind": "List", "items": cleaned}
        put(json.dumps(whole, indent=2) + "\n")
        return
    import yaml

    put(yaml.safe_dump_all(cleaned, sort_keys=False))


def _cleaned(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in document["metadata"].items() if k not in SERVERS_OWN}
    return {**document, "metadata": metadata}
