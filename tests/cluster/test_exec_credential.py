"""kubectl with `daypass exec-credential`, on a real API server, its tokens through a real door."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cluster.conftest import write_credentials
from daypass._core.jwt import decode_unverified
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.programs import DAYPASS, run
from support.up import Up


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with credentials, a cache and a kubeconfig of their own."""

    folder: Path

    @property
    def credentials(self) -> Path:
        return self.folder / "bot.json"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "XDG_CACHE_HOME": str(self.folder / "cache"), "HOME": str(self.folder),
            "DAYPASS_CREDENTIALS": str(self.credentials), "KUBECONFIG": str(self.kubeconfig),
        }  # fmt: skip
        return run(*command, environment=environment)


@pytest.fixture
def person(up: Up, identity: Identity, control_plane: ControlPlane, tmp_path: Path) -> Person:
    """Somebody whose kubeconfig `daypass kubeconfig` has written."""
    person = Person(folder=tmp_path)
    write_credentials(person.credentials, up, identity, audience="gate.example.com")
    answer = control_plane.admin.create(identity.token_path, {"spec": {}})
    audience = decode_unverified(answer["status"]["token"])[1]["aud"][0]
    done = person.run(
        *DAYPASS, "kubeconfig", "--server", control_plane.url, "--certificate-authority",
        str(control_plane.ca_path), "--kubeconfig-out", str(person.kubeconfig),
        "--audience", audience,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return person


@pytest.mark.parametrize(
    ("version", "provides_cluster", "mode"),
    [("v1", True, "IfAvailable"), ("v1beta1", False, "Never")],
)
def test_kubectl_authenticates_as_the_identity_with_a_bound_token_without_a_terminal(
    person: Person, identity: Identity, version: str, provides_cluster: bool, mode: str
) -> None:
    document = yaml.safe_load(person.kubeconfig.read_text())
    document["users"][0]["user"]["exec"] |= {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "provideClusterInfo": provides_cluster,
        "interactiveMode": mode,
    }
    person.kubeconfig.write_text(json.dumps(document))
    done = person.run("kubectl", "auth", "whoami", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    info = json.loads(done.stdout)["status"]["userInfo"]
    assert info["username"] == identity.user
    assert "authentication.kubernetes.io/credential-id" in info["extra"]


def test_revoked_credentials_print_an_error_and_do_not_prompt(
    person: Person, up: Up, control_plane: ControlPlane
) -> None:
    revoked = control_plane.make_identity()
    write_credentials(person.credentials, up, revoked, audience="gate.example.com")
    control_plane.admin.delete(revoked.secret_path)
    eventually(
        "the long-lived token is refused",
        lambda: person.run(*DAYPASS, "token", "--no-cache").returncode,
    )
    done = person.run("kubectl", "auth", "whoami")
    assert done.returncode == 1
    assert revoked.namespace in done.stderr
    assert revoked.service_account in done.stderr
    assert "eyJ" not in done.stderr
