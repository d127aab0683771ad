"""kind, which runs clusters in containers, built once.

    .venv/bin/python -m tools.kind.build

Its version is in go.mod, and in docs/tutorials/kind.md. Needs Go and its module proxy.
"""

from __future__ import annotations

from pathlib import Path

from tools.controlplane.build import BuildError
from tools.gobuild import built


def kind() -> Path:
    """The path of the program. Raises BuildError."""
    return built("kind", "sigs.k8s.io/kind")


if __name__ == "__main__":
    try:
        print(kind())
    except BuildError as error:
        raise SystemExit(f"kind: {error}") from None
