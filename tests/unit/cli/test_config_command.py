"""`daypass config`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from daypass.config import json_schema, load
from daypass.config.schema import EDITOR_LINE
from support.messages import check
from unit.cli.conftest import Run

EXAMPLES = Path(__file__).parents[3] / "examples"
VALID = "version: 1\ndomains: {a: {host: a.example.com, front: istio, tls: {secret: a}}}\n"
GATE = VALID + "gates: {default: {audience: gate, engine: istio}}\n"
IMAGE = "gatePods: {image: registry.example.com/daypass:1}\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "daypass.yaml"


def test_a_valid_file_is_reported_on_stderr_alone(config: Path, run: Run) -> None:
    config.write_text(VALID)
    out, err = run("config validate")
    assert out == ""
    check(err)


def test_every_mistake_is_an_error_with_its_place(config: Path, run: Run) -> None:
    config.write_text(VALID.replace("istio", "isto") + "door: {replicas: 0}\n")
    out, err = run("config validate", code=2)
    assert out == ""
    check(err, "daypass.yaml:2:43: ", "daypass.yaml:3:18: ", reason="config")


@pytest.mark.parametrize(
    "text",
    [
        VALID.replace("{secret: a}", "outside"),
        VALID + "cluster: {certificateAuthority: no.pem}\n",
        VALID + "cluster: {certificateAuthority: broken.pem}\n",
        VALID + "door: {namespace: istio-system}\n",
        GATE,
    ],
    ids=["no Gateway", "authority", "broken", "namespace", "image"],
)
def test_what_render_refuses_is_not_valid(config: Path, run: Run, text: str) -> None:
    config.write_text(text)
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    config.with_name("broken.pem").write_text(pem)
    refused = run("render", code=2)[1].removeprefix("daypass: ").splitlines()[0]
    check(run("config validate", code=2)[1], refused, reason="config")


def test_what_only_a_cluster_knows_is_named(config: Path, run: Run) -> None:
    config.write_text(GATE + IMAGE)
    assert "issuer" in run("render", code=2)[1]
    check(run("config validate")[1], "cluster.issuer")
    config.write_text(GATE + IMAGE + "cluster: {issuer: 'https://issuer.example.com'}\n")
    run("render")
    assert "issuer" not in run("config validate")[1]


def test_the_printed_schema_is_that_of_the_models(run: Run) -> None:
    assert json.loads(run("config schema")[0]) == json_schema()


@pytest.mark.parametrize("name", ["cluster.yaml", "daypass.yaml"])
def test_an_example_is_valid_and_names_its_schema(name: str) -> None:
    file = EXAMPLES / name
    load(file)
    jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(file.read_text()))
    first, second, *_ = file.read_text().splitlines()
    assert first == EDITOR_LINE
    assert second.endswith(f"daypass config schema > {EDITOR_LINE.rpartition('=')[2]}")
