"""API servers that are no target of a deployment, by what they serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.local.stack import stack_config
from support.embedded import EmbeddedCluster
from support.messages import check
from unit.cli.conftest import Run


@pytest.mark.parametrize("line", ["apply", "diff", "remove --yes"])
def test_nothing_is_deployed_where_kinds_cannot_be_listed_at_once(
    line: str, embedded: EmbeddedCluster, run: Run, tmp_path: Path
) -> None:
    """As in Kubernetes 1.29."""
    (tmp_path / "daypass.yaml").write_text(stack_config())
    out, err = run(line, code=1)
    assert out == ""
    check(err, embedded.cluster.connection.server, "1.30", "--kubeconfig FILE", reason="failed")
