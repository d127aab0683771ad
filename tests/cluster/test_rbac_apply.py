"""Commands that deploy do their work with the rules of docs/reference/rbac.md, for every front and
gate, and name a missing one.
"""

from __future__ import annotations

import pytest

from cluster.rights import Case, assert_rights, forget_default_rights, omissions
from support.admin_shell import AdminShell
from support.controlplane import ControlPlane
from support.crds import (
    install_cert_manager,
    install_envoy_gateway,
    install_istio,
    install_kserve,
    install_prometheus_operator,
)
from support.deploying import prepare
from support.manifest_cases import ENVOY_GATEWAY, FRONTS

GATE = """\
gates:
  default:
    audience: gate.example.com
    check: review
    hosts: [serving.example.com, '{name}.{namespace}.serving.example.com']
    authorize:
    - host: '{name}.{namespace}.serving.example.com'
      resource: inferenceservices.serving.kserve.io
gatePods: {image: 'registry.example.com/daypass:1'}
"""
METRICS = "metrics: {prometheusNamespaces: [monitoring], podMonitor: true, alerts: true}\n"
SMALL = """\
version: 1
domains: {ekf: {host: ekf.example.com, front: ingress, tls: outside}}
"""
CONFIGS = {
    "fronts.yaml": FRONTS + GATE + METRICS,
    "envoy.yaml": ENVOY_GATEWAY,
    "small.yaml": SMALL,
}
"""Between them, all kinds; the last has few."""
FLOW = "flowcontrol.apiserver.k8s.io"
QUICK = "--yes --no-commit --no-wait"
APPLY = {name: f"apply --config {name} {QUICK}" for name in CONFIGS}
CASES = {
    "diff": Case(
        lines=(
            "# remove --yes",
            "diff --config fronts.yaml",
            f"# {APPLY['small.yaml']}",
            "diff --config fronts.yaml",
            "diff --config envoy.yaml",
            f"# {APPLY['envoy.yaml']}",
            "diff --config fronts.yaml",
        ),
        code=3,
        held=("delete", "get /openid/v1/jwks"),
    ),
    # What controls the flow of requests is in every config, so it is never deleted here.
    "apply": Case(
        lines=("# remove --yes", *APPLY.values()),
        held=(f"delete flowschemas.{FLOW}", f"delete prioritylevelconfigurations.{FLOW}"),
    ),
    "verify": Case(
        lines=("verify serving --config fronts.yaml", "verify --config envoy.yaml"), code=3
    ),
    # Objects that were there before an apply are patched.
    "remove": Case(
        lines=(
            f"# {APPLY['fronts.yaml']}", "remove --yes", f"# {APPLY['envoy.yaml']}", "remove --yes",
        ),
        held=("patch", "create", "list", "get"),
    ),
}  # fmt: skip


def prepare_plane(plane: ControlPlane) -> None:
    """The kinds of every front."""
    kinds = (install_istio, install_envoy_gateway, install_cert_manager, install_kserve)
    prepare(plane, (*kinds, install_prometheus_operator), "istio-system", "infra")
    forget_default_rights(plane)


@pytest.mark.parametrize(("command", "omitted"), omissions(CASES))
def test_a_command_works_with_its_rules_and_reports_a_missing_one(
    shell: AdminShell, plane: ControlPlane, command: str, omitted: int | None
) -> None:
    for name, text in CONFIGS.items():
        (shell.folder / name).write_text(text)
    (shell.folder / "ca.crt").write_text(plane.ca_pem)
    assert_rights(shell, command, omitted, CASES[command], {})
