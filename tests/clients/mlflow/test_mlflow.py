"""MLflow, unmodified, to an MLflow server behind the gate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import mlflow
import pytest
import requests
from mlflow.exceptions import RestException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import daypass
import daypass.integrations.mlflow
from clients.arrivals import Arrival
from clients.mlflow.storage import Elsewhere, nothing, s3, serving
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity
from daypass.testing import MovableClock

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow"),
]

VARIABLE = "MLFLOW_TRACKING_AUTH=daypass"
AUTHORITY_VARIABLE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
BUCKET = "artifacts"
MEBIBYTE = 2**20


@pytest.fixture(scope="session")
def store() -> Iterator[Elsewhere]:
    """Where the server keeps artifacts: it can sign URLs for clients."""
    with serving(s3()) as running:
        keys = {name.lower(): value for name, value in KEYS.items()}
        client = boto3.client("s3", endpoint_url=running.url, region_name="us-east-1", **keys)
        client.create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str], store: Elsewhere) -> str:
    return run_server(
        str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1",
        "--host", "127.0.0.1", "--port", "PORT",
        "--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", f"s3://{BUCKET}",
        environment={**KEYS, "MLFLOW_S3_ENDPOINT_URL": store.url, "MLFLOW_DISABLE_TELEMETRY": "1",
                     "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES": "http"},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def variables(
    gate: str, authority: str, daypass_identity: MadeIdentity, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[None]:  # fmt: skip
    """All that a user sets."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(*VARIABLE.split("="))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gate)
    monkeypatch.setenv(AUTHORITY_VARIABLE, authority)
    monkeypatch.setenv("DAYPASS_CREDENTIALS", str(daypass_identity.credentials_file))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "1")
    monkeypatch.chdir(tmp_path)
    daypass.integrations.mlflow._auth.cache_clear()
    yield
    daypass.integrations.mlflow._auth.cache_clear()


@pytest.fixture
def clocked(credentials: daypass.Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment names is loaded with the client's clock."""
    monkeypatch.setattr(daypass.Credentials, "load", lambda: credentials)


def came_from(arrived: list[Arrival], user: str) -> bool:
    """Whether requests came, all from this user."""
    return {each.user for each in arrived} == {user}


def paths(arrived: list[Arrival], method: str) -> list[str]:
    return [each.path.partition("?")[0] for each in arrived if each.method == method]


TRAIN = """
import mlflow

with mlflow.start_run(run_name="nightly") as run:
    mlflow.log_param("depth", 3)
    mlflow.log_metric("loss", 0.25)
    mlflow.log_text("hello", "notes/hello.txt")
assert mlflow.get_run(run.info.run_id).data.metrics == {"loss": 0.25}
assert mlflow.artifacts.load_text(run.info.artifact_uri + "/notes/hello.txt") == "hello"
"""
"""It knows nothing of daypass."""


def test_a_program_that_knows_nothing_of_daypass_logs_a_run(
    arrived: list[Arrival], daypass_identity: MadeIdentity
) -> None:
    command = [sys.executable, "-c", TRAIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "Error" in done.stderr, "Warning" in done.stderr) == (0, False, False)
    assert came_from(arrived, daypass_identity.user)
    assert "/api/2.0/mlflow/runs/log-metric" in paths(arrived, "POST")


@pytest.mark.usefixtures("clocked")
def test_a_run_goes_on_after_its_token_has_expired(
    expire: Callable[[], Token], arrived: list[Arrival], daypass_identity: MadeIdentity
) -> None:
    with mlflow.start_run() as active:
        mlflow.log_metric("loss", 2.0, step=0)
        expire()
        mlflow.log_metric("loss", 1.0, step=1)
    history = mlflow.MlflowClient().get_metric_history(active.info.run_id, "loss")
    assert [each.value for each in history] == [2.0, 1.0]
    assert came_from(arrived, daypass_identity.user)


@pytest.mark.usefixtures("clocked")
def test_a_run_goes_on_after_its_token_was_denied(
    deny: Callable[..., Token], arrived: list[Arrival]
) -> None:
    with mlflow.start_run() as active:
        deny()
        mlflow.log_metric("loss", 1.0)
    assert paths(arrived, "POST").count("/api/2.0/mlflow/runs/log-metric") == 1
    assert mlflow.get_run(active.info.run_id).data.metrics == {"loss": 1.0}


@pytest.mark.usefixtures("clocked")
def test_an_artifact_is_uploaded_after_a_deny_and_downloaded_as_it_was(
    deny: Callable[..., Token], client_clock: MovableClock, arrived: list[Arrival], tmp_path: Path
) -> None:
    content = os.urandom(MEBIBYTE)
    (tmp_path / "model.bin").write_bytes(content)
    with mlflow.start_run() as active:
        repository = get_artifact_repository(active.info.artifact_uri)
        deny()
        repository.log_artifact("model.bin", "models")  # no smaller request before the upload
    uploads = paths(arrived, "PUT")
    client_clock.move(120)
    deny()
    got = mlflow.artifacts.download_artifacts(
        run_id=active.info.run_id, artifact_path="models/model.bin", dst_path=str(tmp_path / "got")
    )
    assert Path(got).read_bytes() == content
    assert len(uploads) == 1


@pytest.mark.usefixtures("clocked")
def test_a_refusal_shows_the_gates_reason(
    deny: Callable[..., Token], arrived: list[Arrival]
) -> None:
    deny(every=True)
    with pytest.raises(RestException, match="has denied"):
        mlflow.search_experiments()
    with pytest.raises(requests.HTTPError, match="has denied"):
        mlflow.artifacts.list_artifacts(artifact_uri="mlflow-artifacts:/0")
    assert arrived == []


def test_without_credentials_the_error_names_the_variable_to_set(
    arrived: list[Arrival], daypass_identity: MadeIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAYPASS_CREDENTIALS")
    with pytest.raises(daypass.CredentialsError, match="DAYPASS_CREDENTIALS"):
        mlflow.search_experiments()
    assert arrived == []
    # Nothing of the failure is cached: a notebook goes on in the same process.
    monkeypatch.setenv("DAYPASS_CREDENTIALS", str(daypass_identity.credentials_file))
    assert mlflow.search_experiments()


def test_mlflow_loads_nothing_of_daypass_where_no_variable_selects_it() -> None:
    code = (
        "import sys, mlflow.tracking.request_auth.registry\n"
        "print(*sorted(name for name in sys.modules if name.startswith('daypass')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == [
        "daypass", "daypass.integrations", "daypass.integrations.mlflow",
    ]  # fmt: skip


def test_an_authorization_header_of_the_users_own_is_not_replaced(
    arrived: list[Arrival], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-somebody-else")
    with pytest.raises(RestException, match="Authorization"):
        mlflow.search_experiments()
    assert arrived == []


def test_urls_that_the_server_signs_are_used_without_a_token(
    store: Elsewhere, arrived: list[Arrival], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for which in ("UPLOAD", "DOWNLOAD"):
        monkeypatch.setenv(f"MLFLOW_ENABLE_PROXY_MULTIPART_{which}", "true")
        monkeypatch.setenv(f"MLFLOW_MULTIPART_{which}_MINIMUM_FILE_SIZE", "1")
        monkeypatch.setenv(f"MLFLOW_MULTIPART_{which}_CHUNK_SIZE", str(5 * MEBIBYTE))
    content = os.urandom(6 * MEBIBYTE)
    (tmp_path / "model.bin").write_bytes(content)
    with mlflow.start_run() as active:
        store.received.clear()
        mlflow.log_artifact("model.bin")
        got = mlflow.artifacts.download_artifacts(f"{active.info.artifact_uri}/model.bin")
    assert Path(got).read_bytes() == content
    past_the_gate = [method for method, _, header in store.received if not header]
    assert sorted(past_the_gate) == ["GET", "GET", "PUT", "PUT"]
    assert not any("Bearer" in header for _, _, header in store.received)
    assert not any(path.endswith("/artifacts/model.bin") for path in paths(arrived, "PUT"))


def test_artifacts_on_another_host_get_no_token(arrived: list[Arrival]) -> None:
    with serving(nothing) as other:
        location = f"{other.url}/api/2.0/mlflow-artifacts/artifacts/stolen"
        experiment = mlflow.create_experiment(f"at {other.url}", artifact_location=location)
        warned = pytest.warns(UserWarning, match=f"no token to {other.url}")
        with mlflow.start_run(experiment_id=experiment), warned:
            mlflow.log_text("hello", "hello.txt")
    assert [(method, header) for method, _, header in other.received] == [("PUT", "")]


def test_a_server_that_only_an_argument_names_gets_no_token(
    gate: str, arrived: list[Arrival], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    client = mlflow.MlflowClient(tracking_uri=gate)
    with (
        pytest.warns(UserWarning, match="MLFLOW_TRACKING_URI"),
        pytest.raises(RestException, match="no token"),
    ):
        client.search_experiments()
    assert arrived == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gate)
    assert client.search_experiments()
