"""The Trainer of Kubeflow's SDK: TrainJobs on a real kube-apiserver, with tokens from a door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import kubernetes.client
import pytest
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import CustomTrainerContainer, TrainerClient

import daypass
import daypass.integrations.kubernetes
from daypass.testing import MovableClock
from support import identities
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.stack_credentials import credentials_by
from support.tokens import ISSUER
from support.up import Up, up_config

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "trainer.kubeflow.org"
KINDS = {
    "TrainJob": "Namespaced",
    "ClusterTrainingRuntime": "Cluster",
    "TrainingRuntime": "Namespaced",
}
RUNTIME = {
    "apiVersion": f"{GROUP}/v1alpha1",
    "kind": "TrainingRuntime",
    "metadata": {"name": "torch", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {"spec": {"replicatedJobs": [{"name": "node", "template": {
            "metadata": {"labels": {f"{GROUP}/trainjob-ancestor-step": "trainer"}},
            "spec": {"template": {"spec": {"containers": [{"name": "node", "image": "torch"}]}}},
        }}]}},
    },
}  # fmt: skip


def definition(kind: str, scope: str) -> dict[str, object]:
    """A kind of the Trainer, with nothing behind it."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "listKind": f"{kind}List"},
            "versions": [{"name": "v1alpha1", "served": True, "storage": True,
                          "schema": {"openAPIV3Schema": schema}}],
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def trainer(control_plane: ControlPlane) -> Identity:
    """A bot that may start TrainJobs in its namespace, where there is a runtime."""
    admin = control_plane.admin
    for kind, scope in KINDS.items():
        admin.create(DEFINITIONS, definition(kind, scope))
    identity = control_plane.make_identity()
    path = f"/apis/{GROUP}/v1alpha1/namespaces/{identity.namespace}"
    for kind in KINDS:
        served = f"/apis/{GROUP}/v1alpha1/{kind.lower()}s"
        eventually(f"{kind} is served", lambda: admin.request("GET", served).code == 200)  # noqa: B023
    admin.create(f"{path}/trainingruntimes", RUNTIME)
    jobs = {"apiGroups": [GROUP], "resources": ["trainjobs", "trainingruntimes"],
            "verbs": ["create", "get", "list"]}  # fmt: skip
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    identities.allow(admin, identity.namespace, "bot", jobs, pods)
    return identity


@pytest.fixture(scope="module")
def up(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A door to it."""
    with Up(tmp_path_factory.mktemp("up"), up_config(control_plane)) as running:
        yield running


@pytest.fixture
def credentials_file(trainer: Identity, up: Up, tmp_path: Path) -> Path:
    document = {
        "type": "daypass", "version": 1, "door": up.door, "audience": ISSUER,
        "certificateAuthority": up.authority_file.read_text(), "token": trainer.token.reveal(),
    }  # fmt: skip
    file = tmp_path / "bot.json"
    file.touch(0o600)
    file.write_text(json.dumps(document))
    return file


@pytest.fixture
def credentials(credentials_file: Path, client_clock: MovableClock) -> daypass.Credentials:
    return credentials_by(client_clock, credentials_file)


@pytest.fixture
def configuration(control_plane: ControlPlane) -> kubernetes.client.Configuration:
    configuration = kubernetes.client.Configuration(host=control_plane.url)
    configuration.ssl_ca_cert = str(control_plane.ca_path)
    return configuration


def connect(configuration: kubernetes.client.Configuration, namespace: str) -> TrainerClient:
    return TrainerClient(
        KubernetesBackendConfig(client_configuration=configuration, namespace=namespace)
    )


def test_a_job_is_started_and_listed_with_tokens_that_are_refreshed(
    configuration: kubernetes.client.Configuration, credentials: daypass.Credentials,
    trainer: Identity, client_clock: MovableClock,
) -> None:  # fmt: skip
    daypass.integrations.kubernetes.authorize(configuration, credentials)
    client = connect(configuration, trainer.namespace)
    runtime = client.get_runtime("torch")
    sent = configuration.api_key["authorization"]
    client_clock.move(3600)
    name = client.train(runtime=runtime, trainer=CustomTrainerContainer(image="mine"))
    assert [job.name for job in client.list_jobs()] == [name]
    assert configuration.api_key["authorization"] == f"Bearer {credentials.bearer()}" != sent


LIST = """
from kubeflow.trainer import TrainerClient
print(TrainerClient().get_runtime("torch").name)
"""
"""It knows nothing of daypass."""


def test_a_kubeconfig_needs_no_line_of_code(
    control_plane: ControlPlane, trainer: Identity, credentials_file: Path, tmp_path: Path
) -> None:
    daypass_command = str(Path(sys.executable).with_name("daypass"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DAYPASS_CREDENTIALS": str(credentials_file),
        "KUBECONFIG": str(tmp_path / "config"),
    }
    run = partial(subprocess.run, env=environment, check=True, timeout=60)
    run(
        [
            daypass_command, "kubeconfig", "--server", control_plane.url,
            "--certificate-authority", str(control_plane.ca_path),
            "--kubeconfig-out", str(tmp_path / "config"),
        ],
    )  # fmt: skip
    done = run([sys.executable, "-c", LIST], stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["torch"]


def test_a_refusal_is_in_the_cause_alone(
    configuration: kubernetes.client.Configuration, credentials: daypass.Credentials,
    trainer: Identity,
) -> None:  # fmt: skip
    daypass.integrations.kubernetes.authorize(configuration, credentials, audience="elsewhere")
    client = connect(configuration, trainer.namespace)
    with pytest.raises(RuntimeError, match="Failed to list TrainJobs") as refused:
        client.list_jobs()
    assert isinstance(refused.value.__cause__, kubernetes.client.ApiException)
    assert refused.value.__cause__.status == 401
    assert "Unauthorized" not in str(refused.value)
