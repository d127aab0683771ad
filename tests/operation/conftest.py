"""The same door, cluster and shell as for the commands of administrators."""

from __future__ import annotations

from cluster.conftest import cleared, cluster, door, folder, identity, plane, run, shell, up

__all__ = ["cleared", "cluster", "door", "folder", "identity", "plane", "run", "shell", "up"]
