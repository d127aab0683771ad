"""The scripts of `examples` at a real gate; code shown in the docs is part of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daypass.local.stack import LocalStack, MadeIdentity
from integrations.trust import Trust
from support.examples import EXAMPLES, documented, is_part_of_an_example, run_example, run_script

ELSEWHERE = {
    "with_grpc",  # test_grpc
    "with_kubernetes", "with_kubernetes_asyncio", "with_lightkube",  # test_kubernetes
    "with_kfp",  # tests/kubeflow
}  # fmt: skip
AT_THE_GATE = sorted({file.stem for file in EXAMPLES.glob("*.py")} - ELSEWHERE)


Variables = dict[str, str]


@pytest.fixture
def environment(daypass_identity: MadeIdentity, trust: Trust) -> Variables:
    """The identity's credentials, and whom to trust."""
    return {
        "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file),
        "SSL_CERT_FILE": str(trust.file),
        "REQUESTS_CA_BUNDLE": str(trust.file),
    }


@pytest.mark.parametrize("name", AT_THE_GATE)
def test_an_example_passes_the_gate(
    name: str, daypass_stack: LocalStack, daypass_identity: MadeIdentity, environment: Variables
) -> None:
    said = run_example(name, f"{daypass_stack.gate}/hello", environment=environment)
    assert json.loads(said)["headers"]["kubeflow-userid"] == daypass_identity.user


@pytest.mark.parametrize("name", AT_THE_GATE)
def test_an_example_fails_where_the_gate_refuses(
    name: str, daypass_stack: LocalStack, daypass_identity: MadeIdentity, environment: Variables
) -> None:
    document = json.loads(daypass_identity.credentials_file.read_text())
    daypass_identity.credentials_file.write_text(json.dumps({**document, "audience": "elsewhere"}))
    with pytest.raises(AssertionError, match="403"):
        run_example(name, f"{daypass_stack.gate}/hello", environment=environment)


def test_the_readmes_snippet_passes_the_gate(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity, environment: Variables,
    tmp_path: Path,
) -> None:  # fmt: skip
    (snippet,) = documented("../README.md")
    script = tmp_path / "hello.py"
    script.write_text(snippet.replace("https://localhost:8444", daypass_stack.gate))
    said = run_script(script, environment=environment)
    assert json.loads(said)["headers"]["kubeflow-userid"] == daypass_identity.user


@pytest.mark.parametrize("block", documented("how-to/python-libraries.md"))
def test_what_the_docs_show_is_part_of_an_example(block: str) -> None:
    assert is_part_of_an_example(block)
