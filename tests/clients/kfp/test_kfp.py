"""`kfp.Client` with `TokenCredentials`, as an author of pipelines uses it."""

import copy
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import pytest
from kfp import compiler, dsl

import daypass
from clients.arrivals import Arrival
from clients.kfp.pipelines import FakePipelines, running_pipelines
from daypass.client.token import Token
from daypass.integrations.kfp import TokenCredentials
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.testing import MovableClock
from support.examples import run_example
from support.messages import raises

Connect = Callable[..., Any]


@pytest.fixture(scope="session")
def pipelines() -> Iterator[FakePipelines]:
    with running_pipelines() as running:
        yield running


@pytest.fixture(scope="session")
def server(pipelines: FakePipelines) -> str:
    return pipelines.url


@pytest.fixture
def connect(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity, credentials: daypass.Credentials,
    pipelines: FakePipelines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> Connect:  # fmt: skip
    """Makes a client; nothing of this machine's own kfp and kubectl counts."""
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    pipelines.calls.clear()

    def make(**options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # that it is for v2 only
            return kfp.Client(
                host=daypass_stack.gate,
                ssl_ca_cert=str(daypass_stack.authority_file),
                namespace=daypass_identity.namespace,
                credentials=TokenCredentials(credentials),
                **options,
            )

    return make


@dsl.container_component  # type: ignore[untyped-decorator]
def hello() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="busybox", command=["echo", "hello"])


@dsl.pipeline(name="hello")  # type: ignore[untyped-decorator]
def pipeline() -> None:
    hello()


def test_an_experiment_is_made_and_a_pipeline_uploaded_and_run_by_the_bot(
    connect: Connect, pipelines: FakePipelines, daypass_identity: MadeIdentity, tmp_path: Path
) -> None:
    package = tmp_path / "hello.yaml"
    compiler.Compiler().compile(pipeline, str(package))
    client = connect()
    experiment = client.create_experiment("nightly")
    listed = client.list_experiments(namespace=daypass_identity.namespace)
    assert [item.experiment_id for item in listed.experiments] == [experiment.experiment_id]
    uploaded = client.upload_pipeline(str(package), pipeline_name="hello")
    assert uploaded.display_name == "hello"
    assert pipelines.uploads[-1] == package.read_bytes()
    run = client.run_pipeline(experiment.experiment_id, "first", str(package))
    assert client.get_run(run.run_id).display_name == "first"
    assert {call.user for call in pipelines.calls} == {daypass_identity.user}
    assert not any("authorization" in call.headers for call in pipelines.calls)


def test_each_request_asks_for_a_fresh_token(
    connect: Connect, credentials: daypass.Credentials, client_clock: MovableClock
) -> None:
    client = connect()
    before = credentials.token()
    client.list_experiments()
    client_clock.move(3600)
    client.list_experiments()
    key = client._existing_config.api_key["authorization"]
    assert key == credentials.token().value.reveal() != before.value.reveal()


def test_a_denial_is_shown_and_the_next_token_passes(
    connect: Connect, credentials: daypass.Credentials, arrived: list[Arrival],
    deny: Callable[..., Token],
) -> None:  # fmt: skip
    """kfp does not report a refusal to its credentials, so the caller renews the token."""
    client = connect()
    refused = deny()
    with pytest.raises(kfp_server_api.ApiException, match="denied") as shown:
        client.list_experiments()
    assert shown.value.status == 401
    assert arrived == []
    credentials.renew(refused)
    client.list_experiments()
    assert len(arrived) == 1


def test_a_revoked_identity_gets_the_reason(
    connect: Connect, pipelines: FakePipelines, daypass_identity: MadeIdentity,
    revoke: Callable[[], None],
) -> None:  # fmt: skip
    client = connect()
    revoke()
    namespace = daypass_identity.namespace
    with raises(daypass.ExchangeRefusedError, match=namespace, hide=namespace):
        client.list_experiments()
    assert pipelines.calls == []


def test_a_configuration_that_is_copied_still_asks_for_tokens(
    connect: Connect, credentials: daypass.Credentials
) -> None:
    copied = copy.deepcopy(connect()._existing_config)
    assert copied.auth_settings()["Bearer"]["value"] == (
        f"Bearer {credentials.token().value.reveal()}"
    )


TRAIN = """
import sys
import kfp
from kfp.client import ServiceAccountTokenVolumeCredentials

host, authority, namespace = sys.argv[1:]
credentials = ServiceAccountTokenVolumeCredentials()
client = kfp.Client(host=host, namespace=namespace, credentials=credentials, ssl_ca_cert=authority)
client.create_experiment("nightly", namespace=namespace)
client.list_experiments(namespace=namespace)
"""
"""It knows nothing of daypass."""


def test_kfps_own_credentials_read_the_file_that_daypass_run_keeps(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity, pipelines: FakePipelines,
    tmp_path: Path,
) -> None:  # fmt: skip
    pipelines.calls.clear()
    (tmp_path / "train.py").write_text(TRAIN)
    subprocess.run(
        [
            sys.executable, "-m", "daypass", "run", "--file", "--env", "KF_PIPELINES_SA_TOKEN_PATH",
            "--", sys.executable, "train.py",
            daypass_stack.gate, str(daypass_stack.authority_file), daypass_identity.namespace,
        ],
        env={
            **os.environ,
            "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
            "HOME": str(tmp_path),
        },
        cwd=tmp_path, check=True, timeout=120,
    )  # fmt: skip
    assert {call.method for call in pipelines.calls} == {"GET", "POST"}
    assert {call.user for call in pipelines.calls} == {daypass_identity.user}


def test_the_example_uploads_a_pipeline_and_runs_it(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity, pipelines: FakePipelines,
    tmp_path: Path,
) -> None:  # fmt: skip
    environment = {
        "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
        "SSL_CERT_FILE": str(daypass_stack.authority_file),
        "HOME": str(tmp_path),
    }
    said = run_example(
        "with_kfp", daypass_stack.gate, daypass_identity.namespace, environment=environment
    )
    assert said.split()[-1] == pipelines.runs[-1]["run_id"]
    assert pipelines.calls[-1].user == daypass_identity.user
