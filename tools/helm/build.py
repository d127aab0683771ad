"""Build Helm, which installs the chart in tests, once, into the user's cache folder.

    python -m tools.helm.build

Needs Go and its module proxy, and some minutes; afterwards it returns at once. What is built is
decided by go.mod and go.sum beside this file. The program's path goes to stdout.
"""

from __future__ import annotations

from pathlib import Path

from tools.controlplane.build import BuildError
from tools.gobuild import built


def helm() -> Path:
    """The path of the program. Raises BuildError."""
    return built("helm", "helm.sh/helm/v4/cmd/helm")


if __name__ == "__main__":
    try:
        print(helm())
    except BuildError as error:
        raise SystemExit(f"helm: {error}") from None
