"""Commands of messages that need a real API server, or a real kubectl: each does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass._core import labels
from daypass._core.errors import UsageError
from daypass._core.secret import Secret
from daypass.cli import main
from daypass.config import load
from daypass.identity.namespaces import enforce_policy
from daypass.identity.policy import policy_state
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES, SECRETS
from daypass.local.api_backend import upstream_of
from support.clusters import account_token, admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.hints import Hint, Recorder
from support.up import Up, running_up, up_config

GATE = "gate.example.com"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One without a policy, until a test applies it."""
    with ControlPlane.start(tmp_path_factory.mktemp("hints")) as running:
        yield running


@pytest.fixture(scope="module")
def up(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    config = up_config(plane, policy=f"{{audiences: [{GATE}]}}")
    with running_up(tmp_path_factory.mktemp("up"), config) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an administrator types."""

    plane: ControlPlane
    cluster: Cluster
    namespace: str
    output: pytest.CaptureFixture[str]
    recorder: Recorder

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command of daypass; all that it printed."""
        self.output.readouterr()
        self.recorder.hints.clear()
        ended = main(list(words))
        said = "".join(self.output.readouterr())
        assert ended == code, said
        return said

    def create(self, *words: str) -> str:
        """Make `bot`."""
        door = ("--door", "https://ekf.example.com/kubernetes", "--audience", GATE)
        return self.run("identity", "create", "bot", "-n", self.namespace, *door, *words)

    def named(self, place: str, *, in_: str = "") -> Hint:
        """The one command that was named by a place of the source."""
        (hint,) = {each for each in self.recorder.hints if each.place == place}
        assert hint.line in in_ or not in_
        return hint

    def label(self) -> str | None:
        """Of the namespace, for the policy."""
        found = self.cluster.get(NAMESPACES, self.namespace)["metadata"].get("labels") or {}
        return found.get(labels.POLICY)


def kubectl(hint: Hint) -> str:
    """Run a line of kubectl as the administrator; what it printed."""
    assert hint.program == "kubectl"
    program = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [program, *hint.words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def desk(
    plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named_commands: Recorder,
) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cluster = admin_cluster(plane)
    yield Desk(plane, cluster, plane.make_namespace(), capsys, named_commands)
    cluster.close()


def test_a_missing_namespace(desk: Desk) -> None:
    missing = f"{desk.namespace}-other"
    check = (
        "policy", "check", "-n", missing, "--service-account", "default", "--audience", "x",
    )  # fmt: skip
    said = desk.run(*check, code=1)
    kubectl(desk.named("kube/errors.py::_absent", in_=said))
    desk.run(*check, code=3)  # the namespace is not held to a policy


def test_labels_of_namespaces(desk: Desk) -> None:
    said = desk.create("--output", "yaml")
    label = desk.named("cli/identity/create.py::_show", in_=said)
    assert desk.label() is None
    kubectl(label)
    assert desk.label() == labels.POLICY_ENFORCED

    desk.create()
    said = desk.run("identity", "delete", "bot", "-n", desk.namespace)
    kubectl(desk.named("identity/namespaces.py::_warn_of_label", in_=said))
    assert desk.label() is None

    desk.plane.admin.create(
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{desk.namespace}/rolebindings",
        {
            "metadata": {"name": "x"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "default", "namespace": desk.namespace}
            ],
        },
    )  # fmt: skip
    person = cluster_as(desk.plane, account_token(desk.plane, desk.namespace, "default"))
    enforce_policy(person, desk.namespace, lambda *_: None)
    person.close()
    kubectl(desk.named("identity/namespaces.py::enforce_policy"))
    assert desk.label() == labels.POLICY_ENFORCED


def test_a_secret_of_another_owner(desk: Desk) -> None:
    desk.create()
    annotations = {"kubernetes.io/service-account.name": "bot"}
    metadata = {"name": "by-hand", "namespace": desk.namespace, "annotations": annotations}
    kind = "kubernetes.io/service-account-token"
    desk.cluster.create({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata})
    said = desk.run("identity", "revoke", "bot", "-n", desk.namespace, code=3)
    kubectl(desk.named("cli/identity/revoke.py::run", in_=said))
    assert desk.cluster.find(SECRETS, "by-hand", desk.namespace) is None


def test_cluster_roles(desk: Desk) -> None:
    desk.create()
    said = desk.run(
        "identity", "authorize", "bot", "-n", desk.namespace, "--in", desk.namespace,
        "--cluster-role", "nope", "--no-istio", code=1,
    )  # fmt: skip
    assert "view" in kubectl(desk.named("identity/grants.py::_check_risks", in_=said))


def test_the_exchange_with_kubectl(desk: Desk, up: Up) -> None:
    said = desk.run(
        "identity", "create", "bot", "-n", desk.namespace, "--door", up.door, "--audience", GATE,
        "--certificate-authority", str(up.authority_file),
    )  # fmt: skip
    program = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-ec", said.partition("with kubectl:\n")[2]],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PATH": f"{program}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Secret(done.stdout.strip()).reveal().count(".") == 2


def test_the_authority_of_the_api_server(desk: Desk, tmp_path: Path) -> None:
    lines = up_config(desk.plane, cluster=f"{{server: {desk.plane.url}}}")
    (tmp_path / "daypass.yaml").write_text(lines)
    desk.recorder.hints.clear()
    with pytest.raises(UsageError):
        upstream_of(load(tmp_path / "daypass.yaml"))
    shown = kubectl(desk.named("local/api_backend.py::upstream_of"))
    assert "certificate-authority" in shown


def test_the_policy(desk: Desk, up: Up, tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text(up.config_file.read_text())
    authority = ("--certificate-authority", str(up.authority_file))
    said = desk.run("identity", "create", "bot", "-n", desk.namespace, "--door", up.door,
                    "--audience", GATE, *authority)  # fmt: skip
    apply = desk.named("identity/namespaces.py::_warn_without_policy", in_=said)
    verify = ("verify", up.door, "--credentials", "bot.json", *authority)
    said = desk.run(*verify)
    named = desk.named("verification/door_checks.py::judge_policy", in_=said)
    assert named.line == apply.line
    said = desk.run("identity", "show", "bot", "-n", desk.namespace)
    assert desk.named("identity/health.py::_check_policy", in_=said).line == apply.line
    desk.run(*apply.words)
    assert policy_state(desk.cluster, None, desk.namespace).is_in_force
    assert "✓ policy " in desk.run(*verify)

    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/daypass"
    found = desk.plane.admin.get(path)
    found["spec"]["matchConditions"].append({"name": "hole", "expression": "false"})
    assert desk.plane.admin.request("PUT", path, found).code == 200
    said = desk.run("policy", "apply", code=1)
    kubectl(desk.named("identity/policy.py::_refuse_additions", in_=said))
    desk.run("policy", "apply")
