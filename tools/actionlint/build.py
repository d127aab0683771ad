"""actionlint, the linter of GitHub workflows, built once.

    .venv/bin/python -m tools.actionlint.build

Its version is in go.mod. Needs Go and its module proxy.
"""

from __future__ import annotations

from pathlib import Path

from tools.controlplane.build import BuildError
from tools.gobuild import built


def actionlint() -> Path:
    """The path of the program. Raises BuildError."""
    return built("actionlint", "github.com/rhysd/actionlint/cmd/actionlint")


if __name__ == "__main__":
    try:
        print(actionlint())
    except BuildError as error:
        raise SystemExit(f"actionlint: {error}") from None
