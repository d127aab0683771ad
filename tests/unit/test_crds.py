"""CustomResourceDefinitions for tests, from Go modules with pinned checksums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tools import crds, gobuild

from support.messages import raises

YAML = """
kind: CustomResourceDefinition
metadata: {name: things.example.com}
---
kind: ValidatingAdmissionPolicy
metadata: {name: other}
---
"""
Answer = Callable[..., Path]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A `go` that answers this, and a cache folder of its own; the file with its calls."""
    (tmp_path / "module").mkdir()
    calls, program = tmp_path / "calls", tmp_path / "go"
    monkeypatch.setattr(gobuild, "go_program", lambda: str(program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(crds, "ISTIO", crds.Module(
        path="example.com/istio", version="v1", sum="h1:right", files="*.yaml"
    ))  # fmt: skip

    def make(**said: str) -> Path:
        text = json.dumps({"Dir": str(tmp_path / "module"), "Sum": "h1:right", **said})
        failed = int("Error" in said)
        program.write_text(f"#!/bin/sh\necho $* >> {calls}\necho '{text}'\nexit {failed}\n")
        program.chmod(0o700)
        return calls

    return make


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"Sum": "h1:wrong"}, "h1:wrong.*h1:right"),
        ({"Error": "no such host"}, "(?s)no such host.*HTTPS_PROXY"),
        ({}, "example.com/istio"),
    ],
    ids=["another sum", "an error", "no definition"],
)
def test_unexpected_module_contents_are_refused_and_not_cached(
    answer: Answer, tmp_path: Path, said: dict[str, str], named: str
) -> None:
    answer(**said)
    with raises(gobuild.BuildError, match=named):
        crds.definitions_file(crds.ISTIO)
    assert not (tmp_path / "cache").exists()
