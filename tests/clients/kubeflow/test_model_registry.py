"""The client of Kubeflow's model registry."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from model_registry import ModelRegistry
from mr_openapi.exceptions import UnauthorizedException

import daypass
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity


@pytest.fixture
def connect(
    url: str, authority: str, credentials: daypass.Credentials
) -> Callable[[], ModelRegistry]:
    def new() -> ModelRegistry:
        return ModelRegistry(
            url, author="ann", user_token=credentials.bearer(), custom_ca=authority
        )

    return new


def register(registry: ModelRegistry, name: str) -> str | None:
    model = registry.register_model(
        name, "s3://models/1", version="1", model_format_name="onnx", model_format_version="1"
    )
    return model.name


def test_a_model_is_registered_and_found(
    connect: Callable[[], ModelRegistry], arrived: list[Arrival], daypass_identity: MadeIdentity
) -> None:
    registry = connect()
    assert register(registry, "churn") == "churn"
    found = registry.get_registered_model("churn")
    assert found is not None
    assert found.name == "churn"
    assert {each.user for each in arrived} == {daypass_identity.user}


def test_a_client_keeps_its_token_and_shows_why_it_is_refused(
    connect: Callable[[], ModelRegistry], expire: Callable[[], Token], arrived: list[Arrival]
) -> None:
    registry = connect()
    expire()
    with pytest.raises(UnauthorizedException, match="has denied this token"):
        registry.get_registered_model("churn")
    assert arrived == []


def test_a_new_client_and_a_new_token_in_an_old_one_go_on(
    connect: Callable[[], ModelRegistry], expire: Callable[[], Token], arrived: list[Arrival],
    credentials: daypass.Credentials,
) -> None:  # fmt: skip
    registry = connect()
    expire()
    connect()
    registry._api.config.access_token = credentials.bearer()
    registry.get_registered_model("churn")
    assert len(arrived) == 2


PROGRAM = """
import sys
from model_registry import ModelRegistry

url, authority = sys.argv[1:]
registry = ModelRegistry(url, author="ann", custom_ca=authority)
print(registry.get_registered_model("nothing"))
"""
"""It knows nothing of daypass."""


def test_a_program_that_knows_nothing_of_daypass_reads_the_file_that_daypass_run_writes(
    url: str, authority: str, daypass_identity: MadeIdentity, arrived: list[Arrival]
) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "daypass", "run", "--file", "--env", "KF_PIPELINES_SA_TOKEN_PATH",
            "--", sys.executable, "-c", PROGRAM, url, authority,
        ],
        env={**os.environ, "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file)},
        check=True, timeout=60, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["None"]
    assert {each.user for each in arrived} == {daypass_identity.user}
