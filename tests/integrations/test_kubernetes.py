"""The clients of Kubernetes with short-lived tokens, through a real door to a real kube-apiserver.

They reach the API server by another way than the door, as somebody within the network does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import kubernetes.client
import pytest

import daypass
import daypass.integrations.kubernetes
from support import identities
from support.controlplane import ControlPlane
from support.examples import run_example
from support.identities import Identity
from support.tokens import ISSUER
from support.up import Up, up_config

READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


@pytest.fixture(scope="module")
def reader(control_plane: ControlPlane) -> Identity:
    """A bot that may read the ConfigMaps of its namespace."""
    identity = control_plane.make_identity()
    identities.allow(control_plane.admin, identity.namespace, "bot", READ)
    document = {"metadata": {"name": "known"}, "data": {"key": "value"}}
    control_plane.admin.create(f"/api/v1/namespaces/{identity.namespace}/configmaps", document)
    return identity


@pytest.fixture(scope="module")
def up(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A door to it."""
    with Up(tmp_path_factory.mktemp("up"), up_config(control_plane)) as running:
        yield running


@pytest.fixture
def credentials_file(reader: Identity, up: Up, tmp_path: Path) -> Path:
    """What the bot has been handed, for any audience."""
    document = {
        "type": "daypass", "version": 1, "door": up.door,
        "certificateAuthority": up.authority_file.read_text(), "token": reader.token.reveal(),
    }  # fmt: skip
    file = tmp_path / "bot.json"
    file.touch(0o600)
    file.write_text(json.dumps(document))
    return file


@pytest.fixture
def api_credentials(credentials_file: Path) -> daypass.Credentials:
    """What is in it."""
    return daypass.Credentials.from_file(credentials_file)


def official(plane: ControlPlane) -> kubernetes.client.Configuration:
    configuration = kubernetes.client.Configuration(host=plane.url)
    configuration.ssl_ca_cert = str(plane.ca_path)
    return configuration


def test_the_official_client_reads_with_the_bots_permissions(
    control_plane: ControlPlane, reader: Identity, api_credentials: daypass.Credentials
) -> None:
    configuration = official(control_plane)
    daypass.integrations.kubernetes.authorize(configuration, api_credentials, audience=ISSUER)
    # A copy, as the client makes them, obtains tokens too.
    with kubernetes.client.ApiClient(copy.deepcopy(configuration)) as api:
        found = kubernetes.client.CoreV1Api(api).list_namespaced_config_map(reader.namespace)
        review = kubernetes.client.AuthenticationV1Api(api).create_self_subject_review(
            kubernetes.client.V1SelfSubjectReview()
        )
    assert "known" in {item.metadata.name for item in found.items if item.metadata is not None}
    assert review.status is not None
    assert review.status.user_info is not None
    assert review.status.user_info.username == reader.user


def test_a_token_for_another_audience_is_refused(
    control_plane: ControlPlane, reader: Identity, api_credentials: daypass.Credentials
) -> None:
    configuration = official(control_plane)
    daypass.integrations.kubernetes.authorize(configuration, api_credentials, audience="gate")
    with (
        kubernetes.client.ApiClient(configuration) as api,
        pytest.raises(kubernetes.client.ApiException) as refused,
    ):
        kubernetes.client.CoreV1Api(api).list_namespaced_config_map(reader.namespace)
    assert refused.value.status == 401


@pytest.mark.parametrize("name", ["with_kubernetes", "with_kubernetes_asyncio", "with_lightkube"])
def test_an_example_prints_what_is_there(
    name: str, control_plane: ControlPlane, reader: Identity, credentials_file: Path
) -> None:
    arguments = (control_plane.url, str(control_plane.ca_path), reader.namespace)
    environment = {"DAYPASS_CREDENTIALS": str(credentials_file)}
    assert "known" in run_example(name, *arguments, environment=environment).split()
