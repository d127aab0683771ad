"""Whatever a config becomes, the cluster follows, and in the end it is what it was before."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, given, settings

from daypass.cli import main
from daypass.kube.cluster import Cluster
from support import crds
from support.authority import Authority
from support.config_documents import (
    AUTHORITY_FILE,
    FRONT_NAMESPACES,
    KEYS_FILE,
    Document,
    lives,
)
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.deploying import everything, named, prepare
from support.tokens import Signer

KINDS = (
    crds.install_istio,
    crds.install_envoy_gateway,
    crds.install_cert_manager,
    crds.install_prometheus_operator,
)


def prepare_plane(plane: ControlPlane) -> None:
    """All that a config may have objects of."""
    prepare(plane, KINDS, *FRONT_NAMESPACES, "envoy-gateway-system")


# Not shrunk: each try takes seconds.
@settings(max_examples=2, phases=[Phase.explicit, Phase.generate])
@given(lives(steps=3))
def test_apply_diff_and_remove_can_be_repeated_and_leave_nothing(
    plane: ControlPlane, cluster: Cluster, configs: list[Document]
) -> None:
    before = named(everything(cluster))
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / KEYS_FILE).parent.mkdir()
        (folder / KEYS_FILE).write_text(Signer("key").jwks)
        (folder / AUTHORITY_FILE).write_text(Authority().pem)
        config = folder / "daypass.yaml"
        of_cluster = ("--kubeconfig", str(plane.kubeconfig))
        where = (*of_cluster, "--config", str(config), "--directory", str(folder / "deploy"))
        quick = ("apply", "--no-commit", "--no-wait", "--yes", *where)
        for document in configs:
            # The Secrets of such an issuer are cert-manager's, which keeps them.
            document.get("door", {}).pop("certificateIssuer", None)
            config.write_text(json.dumps(document))
            run(*quick)
            since = plane.audit_position()
            run(*quick)
            run("diff", *where)
            run("apply", "--dry-run=server", *where)
            writes = plane.admin_writes(since=since)
            assert [each for each in writes if "dryRun" not in each] == []
        run("remove", "--yes", *of_cluster)
        run("remove", "--yes", *of_cluster)

    def nothing_is_left() -> bool:
        assert named(everything(cluster)) == before
        return True

    eventually("nothing is left", nothing_is_left)


def run(*words: str) -> None:
    """A command, which finds nothing wrong."""
    with redirect_stdout(StringIO()) as output, redirect_stderr(output):
        code = main([*words])
    assert code == 0, (words, output.getvalue()[-3000:])
