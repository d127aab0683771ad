"""The logic of tools/gobuild.py, without a build."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tools import gobuild

from support.messages import raises

GO_MOD = """module example

require (
\tk8s.io/component-base v0.37.2
\tk8s.io/kubernetes v1.37.2
)

replace k8s.io/api => k8s.io/api v0.37.2
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and the sources of a control plane."""
    folder = tmp_path / "controlplane"
    folder.mkdir()
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "go.sum").write_text("sums\n")
    (folder / "main.go").write_text("package main\n")
    monkeypatch.setattr(gobuild, "TOOLS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that is called in the place of Go."""
    program = tmp_path / "go"
    monkeypatch.setattr(gobuild, "go_program", lambda: str(program))
    return program


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
def test_a_change_of_any_source_leads_to_another_place(cache: Path, name: str) -> None:
    before = gobuild.binary_path("controlplane")
    with (gobuild.TOOLS / "controlplane" / name).open("a") as source:
        source.write("// changed\n")
    assert gobuild.binary_path("controlplane") != before


def test_a_program_of_kubernetes_reports_its_release() -> None:
    *others, linker = gobuild._flags("controlplane")
    assert others == ["-trimpath", "-buildvcs=false", "-ldflags"]
    version = gobuild.kubernetes_version((gobuild.TOOLS / "controlplane/go.mod").read_text())
    assert f"version.gitVersion={version} " in linker
    assert "version" not in gobuild._flags("istiod")[-1]


def test_what_cannot_be_fetched_is_reported_with_what_to_set(cache: Path, answer: Path) -> None:
    script(answer, "echo main.go:3: dial tcp: lookup proxy: no such host; exit 1")
    with raises(
        gobuild.BuildError, match="(?s)no such host.*HTTPS_PROXY.*SSL_CERT_FILE", hide="in /.*"
    ):
        gobuild.built("controlplane", io.StringIO())
    assert not gobuild.binary_path("controlplane").exists()
