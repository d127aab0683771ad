"""CustomResourceDefinitions for tests, from Go modules with pinned checksums."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tools import crds, gobuild

from support.messages import raises


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], named: str
) -> None:
    answer = json.dumps({"Dir": str(tmp_path / "module"), "Sum": "h1:right", **said})
    (tmp_path / "module").mkdir()
    program = tmp_path / "go"
    program.write_text(f"#!/bin/sh\necho '{answer}'\nexit {int('Error' in said)}\n")
    program.chmod(0o700)
    monkeypatch.setattr(gobuild, "go_program", lambda: str(program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = crds.Module(path="example.com/istio", version="v1", sum="h1:right", files="*.yaml")
    with raises(gobuild.BuildError, match=named):
        crds.definitions_file(module)
    assert not (tmp_path / "cache").exists()
