"""Build kube-score, which lints Kubernetes manifests, once, into the user's cache folder.

    python -m tools.kubescore.build

Needs Go and its module proxy, and about a minute; afterwards it returns at once. What is built is
decided by go.mod and go.sum beside this file. The program's path goes to stdout.
"""

from __future__ import annotations

from pathlib import Path

from tools.controlplane.build import BuildError
from tools.gobuild import built


def kube_score() -> Path:
    """The path of the program. Raises BuildError."""
    return built("kubescore", "github.com/zegl/kube-score/cmd/kube-score")


if __name__ == "__main__":
    try:
        print(kube_score())
    except BuildError as error:
        raise SystemExit(f"kubescore: {error}") from None
