"""The scripts of `examples` at a real gate; tests/docs compares them with the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from daypass.local.stack import LocalStack, MadeIdentity
from integrations.trust import Trust
from support.examples import EXAMPLES, run_example

ELSEWHERE = {
    "with_grpc",  # test_grpc
    "with_kubernetes", "with_kubernetes_asyncio", "with_lightkube",  # test_kubernetes
    "with_kfp",  # tests/clients/kfp
    "mcp_bridge",  # tests/clients/mcp
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


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_imports_the_adapter_before_its_library(file: Path) -> None:
    lines = file.read_text().splitlines()
    for adapter in (line for line in lines if line.startswith("import daypass.integrations.")):
        library = re.compile(rf"(import|from) {adapter.rpartition('.')[2]}\b")
        assert not any(library.match(line) for line in lines[: lines.index(adapter)])
