"""The logic of tools/gobuild.py, without a build."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path

import pytest
from tools import gobuild

from support.controlplane import control_plane_program
from support.deadline import eventually
from support.messages import check, raises

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
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
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


def test_the_release_is_the_one_that_go_mod_requires() -> None:
    assert gobuild.kubernetes_version(GO_MOD) == "v1.37.2"
    with raises(gobuild.BuildError, match=r"k8s\.io/kubernetes"):
        gobuild.kubernetes_version("module example\n")


def test_a_program_is_in_the_users_cache_folder_by_its_sources(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = gobuild.binary_path("controlplane")
    assert re.fullmatch(
        r"daypass/controlplane/[0-9a-f]{12}/controlplane", str(path.relative_to(cache))
    )
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert gobuild.binary_path("controlplane").is_relative_to("/home/somebody/.cache/daypass")


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
def test_a_change_of_any_source_leads_to_another_place(cache: Path, name: str) -> None:
    before = gobuild.binary_path("controlplane")
    with (gobuild.TOOLS / "controlplane" / name).open("a") as source:
        source.write("// changed\n")
    assert gobuild.binary_path("controlplane") != before


def test_an_unbuilt_control_plane_is_reported_with_the_command_that_builds_it(cache: Path) -> None:
    with raises(gobuild.BuildError, match="make controlplane", hide="[0-9a-f]{12}"):
        control_plane_program("etcd")


def test_a_built_binary_is_all_three_programs(cache: Path) -> None:
    binary = gobuild.binary_path("controlplane")
    binary.parent.mkdir(parents=True)
    binary.touch()
    assert control_plane_program("etcd") == [str(binary), "etcd"]


def test_ready_made_programs_are_used_and_a_missing_one_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "etcd", "exit 0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert control_plane_program("etcd") == [str(tmp_path / "etcd")]
    with raises(gobuild.BuildError, match="no kube-controller-manager") as caught:
        control_plane_program("kube-controller-manager")
    assert "unset KUBEBUILDER_ASSETS" in str(caught.value)


def test_every_program_has_its_sources_and_nothing_else_is_built() -> None:
    folders = {file.parent.name for file in gobuild.TOOLS.glob("*/go.mod")}
    assert folders == gobuild.PROGRAMS.keys()


def test_settings_of_the_machine_change_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gobuild.go_environment()
    for name, value in (("GOTOOLCHAIN", "local"), ("GOFLAGS", "-mod=vendor"), ("GOROOT", "/x")):
        monkeypatch.setenv(name, value)
    assert gobuild.go_environment() == before
    assert before["GOTOOLCHAIN"] == gobuild.TOOLCHAIN


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


def test_a_build_is_moved_into_its_place_and_reported(cache: Path, answer: Path) -> None:
    script(answer, 'case $1 in list) echo a; echo b;; build) echo a; echo b; echo x >"$8";; esac')
    stream = io.StringIO()
    path = gobuild.built("controlplane", stream)
    assert path.read_text() == "x\n"
    assert "about 8 min" in stream.getvalue()
    script(answer, "exit 1")
    assert gobuild.built("controlplane") == path


def test_silence_is_reported_so_that_the_time_can_be_shown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    lines = gobuild.lines_of(["cat", str(tmp_path / "pipe")], tmp_path)
    assert next(lines) is None
    (tmp_path / "pipe").write_text("a\n\nb\n")
    assert [line for line in lines if line is not None] == ["a", "b"]


def test_a_second_build_waits_for_the_first_and_reports_it(tmp_path: Path) -> None:
    stream = io.StringIO()
    order: list[str] = []

    def second() -> None:
        with gobuild._locked(tmp_path, "istiod", stream):
            order.append("second")

    thread = threading.Thread(target=second)
    with gobuild._locked(tmp_path, "istiod", io.StringIO()):
        thread.start()
        eventually("the second one waits", lambda: stream.getvalue().endswith("\n"))
        check(stream.getvalue(), reason="log")
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
