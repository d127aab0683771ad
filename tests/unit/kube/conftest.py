"""A short way to write a kubeconfig, and an API server whose answers a test sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.fake_door import Signer

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def signer() -> Signer:
    """An authority that the kubeconfigs of these tests trust."""
    return Signer()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a kubeconfig with one context; the arguments are the fields of cluster and user."""

    def make(
        name: str = "config",
        *,
        cluster: dict[str, Any] | None = None,
        user: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        entry: str = "one",
        **top: object,
    ) -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": entry,
            "contexts": [
                {"name": entry, "context": {"cluster": entry, "user": entry, **(context or {})}}
            ],
            "clusters": [
                {
                    "name": entry,
                    "cluster": {"server": f"https://{entry}.test:6443"} | (cluster or {}),
                }
            ],
            "users": [{"name": entry, "user": user or {}}],
            **top,
        }
        file.write_text(json.dumps(document))
        return file

    return make
