"""kubectl with `daypass exec-credential`, on a real API server, its tokens through a real door."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.conftest import write_credentials
from daypass._core.jwt import decode_unverified
from support import identities
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.programs import DAYPASS, run
from support.up import Up


@pytest.fixture(scope="module")
def identity(control_plane: ControlPlane) -> Identity:
    made = control_plane.make_identity()
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    identities.allow(control_plane.admin, made.namespace, made.service_account, rule)
    return made


class Person:
    """Somebody with credentials, a cache and a kubeconfig of their own."""

    def __init__(self, folder: Path, up: Up, identity: Identity) -> None:
        self.folder = folder
        self.credentials = folder / "bot.json"
        self.kubeconfig = folder / "kubeconfig"
        self.environment = {
            "XDG_CACHE_HOME": str(folder / "cache"),
            "HOME": str(folder),
            "DAYPASS_CREDENTIALS": str(self.credentials),
        }
        self.hold(up, identity)

    def hold(self, up: Up, identity: Identity) -> None:
        write_credentials(self.credentials, up, identity, audience="gate.example.com")

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(*command, environment={**self.environment, **environment})

    def daypass(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(*DAYPASS, *arguments)

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("kubectl", *arguments, KUBECONFIG=str(self.kubeconfig))

    def plugin(self, **changes: object) -> None:
        """Change what stands below `exec` in the kubeconfig."""
        document = yaml.safe_load(self.kubeconfig.read_text())
        document["users"][0]["user"]["exec"].update(changes)
        self.kubeconfig.write_text(json.dumps(document))

    def make_kubeconfig(self, plane: ControlPlane, *arguments: str) -> str:
        """Run `daypass kubeconfig`; what it said."""
        done = self.daypass(
            "kubeconfig", "--server", plane.url, "--certificate-authority", str(plane.ca_path),
            "--kubeconfig-out", str(self.kubeconfig), *arguments,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr


def api_audience(plane: ControlPlane, identity: Identity) -> str:
    answer = plane.admin.create(identity.token_path, {"spec": {}})
    return str(decode_unverified(answer["status"]["token"])[1]["aud"][0])


@pytest.fixture
def person(up: Up, identity: Identity, control_plane: ControlPlane, tmp_path: Path) -> Person:
    """Somebody whose kubeconfig `daypass kubeconfig` has written."""
    person = Person(tmp_path, up, identity)
    person.make_kubeconfig(control_plane, "--audience", api_audience(control_plane, identity))
    return person


@pytest.mark.parametrize(
    ("version", "provides_cluster", "mode"),
    [("v1", True, "IfAvailable"), ("v1beta1", False, "Never")],
)
def test_kubectl_lists_what_the_identity_may_see_without_a_terminal(
    person: Person, version: str, provides_cluster: bool, mode: str
) -> None:
    person.plugin(
        apiVersion=f"client.authentication.k8s.io/{version}",
        provideClusterInfo=provides_cluster,
        interactiveMode=mode,
    )
    done = person.kubectl("get", "configmaps", "-o", "name")
    assert (done.returncode, done.stderr) == (0, "")
    assert "configmap/kube-root-ca.crt" in done.stdout


def test_kubectl_authenticates_as_the_identity_with_a_bound_token(
    person: Person, identity: Identity
) -> None:
    done = person.kubectl("auth", "whoami", "-o", "json")
    info = json.loads(done.stdout)["status"]["userInfo"]
    assert info["username"] == identity.user
    assert "authentication.kubernetes.io/credential-id" in info["extra"]


def test_revoked_credentials_print_an_error_and_do_not_prompt(
    person: Person, up: Up, control_plane: ControlPlane
) -> None:
    revoked = control_plane.make_identity()
    person.hold(up, revoked)
    control_plane.admin.delete(revoked.secret_path)
    eventually(
        "the long-lived token is refused", lambda: person.daypass("token", "--no-cache").returncode
    )
    done = person.kubectl("get", "configmaps")
    assert done.returncode == 1
    assert revoked.service_account in done.stderr
    assert revoked.namespace in done.stderr
    assert "eyJ" not in done.stderr
