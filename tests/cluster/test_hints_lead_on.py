"""Commands of messages that need a real API server, or a real kubectl: each does what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daypass._core.kubernetes import labels
from daypass.identity.enforcement import enforce_policy
from daypass.kube.resources import NAMESPACES, SECRETS
from support import identities
from support.admin_shell import AdminShell
from support.clusters import account_token, cluster_as
from support.controlplane import ControlPlane
from support.hints import Recorder
from support.lifecycle import Warnings
from support.programs import output_of

Kubectl = Callable[..., str]


def prepare_plane(plane: ControlPlane) -> None:
    """It has no policy, until a test applies one."""


@pytest.fixture
def kubectl(named_commands: Recorder) -> Kubectl:
    """Run the kubectl command that begins like this and was printed; return its output."""

    def run(begin: str, *printed: str) -> str:
        named = named_commands.named(f"kubectl {begin}", "".join(printed))
        program = Path(sys.executable).with_name("kubectl")
        return output_of(program, *named.words)

    return run


def test_a_missing_namespace_is_created_by_the_named_command(
    shell: AdminShell, kubectl: Kubectl
) -> None:
    shell.create()
    role = ("--cluster-role", "view")
    words = ("authorize", "--in", f"{shell.namespace}-other", *role)
    kubectl("create namespace", *shell.identity(*words, code=1))
    shell.identity(*words)


def test_a_namespace_gets_the_label_and_loses_it_by_the_named_commands(
    shell: AdminShell, kubectl: Kubectl
) -> None:
    def label() -> str | None:
        found = shell.cluster.get(NAMESPACES, shell.namespace)["metadata"].get("labels") or {}
        return found.get(labels.POLICY)

    kubectl("label namespace", *shell.create())
    assert label() is None

    identities.bind(shell.plane.admin, shell.namespace, "default", role="admin")
    person = cluster_as(shell.plane, account_token(shell.plane, shell.namespace, "default"))
    warnings = Warnings()
    enforce_policy(person, shell.namespace, warnings)
    person.close()
    kubectl("label namespace", *warnings)
    assert label() == labels.POLICY_ENFORCED


def test_a_secret_of_another_owner_is_deleted_by_the_named_command(
    shell: AdminShell, kubectl: Kubectl
) -> None:
    shell.create()
    identities.make_token_secret(shell.plane.admin, shell.namespace, "bot", name="by-hand")
    kubectl("delete secret", *shell.identity("revoke", code=3))
    assert shell.cluster.find(SECRETS, "by-hand", shell.namespace) is None
