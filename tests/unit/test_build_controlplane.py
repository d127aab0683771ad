"""The logic of tools/controlplane/build.py, without a build."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path

import pytest
from tools.controlplane import build

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
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "go.sum").write_text("sums\n")
    (folder / "main.go").write_text("package main\n")
    return folder


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    folder = tmp_path / "assets"
    folder.mkdir()
    for name in build.PROGRAMS:
        _script(folder / name, "exit 0")
    return folder


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_release_is_the_one_that_go_mod_requires() -> None:
    assert build.kubernetes_version(GO_MOD) == "v1.37.2"
    with raises(build.BuildError, match=r"k8s\.io/kubernetes"):
        build.kubernetes_version("module example\n")


def test_the_binary_is_in_the_users_cache_folder_by_release_and_sources(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build.binary_path({"XDG_CACHE_HOME": "/caches"}, module)
    assert path == Path("/caches/daypass/controlplane", build.cache_key(module), "controlplane")
    assert re.fullmatch(r"v1\.37\.2-[0-9a-f]{12}", build.cache_key(module))
    monkeypatch.setenv("HOME", "/home/somebody")
    assert build.cache_folder({}) == Path("/home/somebody/.cache/daypass/controlplane")


@pytest.mark.parametrize("name", build.SOURCES)
def test_a_change_of_any_source_makes_another_key(module: Path, name: str) -> None:
    before = build.cache_key(module)
    with (module / name).open("a") as source:
        source.write("// changed\n")
    assert build.cache_key(module) != before


def test_an_unbuilt_control_plane_is_reported_with_the_command_that_builds_it(
    module: Path, tmp_path: Path
) -> None:
    with raises(build.BuildError, match="make controlplane", hide="-[0-9a-f]{12}"):
        build.find_programs({"XDG_CACHE_HOME": str(tmp_path)}, module)


def test_a_built_binary_is_all_three_programs(module: Path, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    binary = build.binary_path(environment, module)
    binary.parent.mkdir(parents=True)
    binary.touch()
    programs = build.find_programs(environment, module)
    assert programs.etcd == (str(binary), "etcd")
    assert programs.kube_apiserver == (str(binary), "kube-apiserver")
    assert programs.kube_controller_manager == (str(binary), "kube-controller-manager")


def test_with_assets_nothing_is_built_and_their_folder_is_printed(
    module: Path, assets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = build.find_programs({"KUBEBUILDER_ASSETS": str(assets)}, module)
    assert programs.kube_apiserver == (str(assets / "kube-apiserver"),)
    assert build.from_assets({"KUBEBUILDER_ASSETS": ""}) is None
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    monkeypatch.setenv("PATH", "")
    build.main()
    assert capsys.readouterr() == (f"{assets}\n", "")


def test_assets_without_a_controller_manager_are_refused_with_a_way_out(assets: Path) -> None:
    (assets / "kube-controller-manager").unlink()
    with raises(build.BuildError, match="kube-controller-manager") as caught:
        build.from_assets({"KUBEBUILDER_ASSETS": str(assets)})
    assert f"KUBEBUILDER_ASSETS={assets} " in str(caught.value)
    assert "unset KUBEBUILDER_ASSETS" in str(caught.value)


def test_a_missing_go_is_reported_with_the_ways_to_get_it(tmp_path: Path) -> None:
    with raises(build.BuildError, match="`go`") as caught:
        build.go_program({"PATH": str(tmp_path)})
    assert "https://go.dev/dl/" in str(caught.value)
    assert "KUBEBUILDER_ASSETS" in str(caught.value)


@pytest.mark.parametrize(
    "said",
    ["echo go1.25.9", "echo 'toolchain not available' >&2; exit 1", "echo devel"],
    ids=["old", "no toolchain", "no release"],
)
def test_a_go_that_is_too_old_is_refused_with_its_output(tmp_path: Path, said: str) -> None:
    _script(tmp_path / "go", said)
    with raises(build.BuildError, match=r"1\.26.*(go1\.25\.9|toolchain not available|devel)"):
        build.go_program({"PATH": str(tmp_path)})


@pytest.mark.parametrize("version", ["go1.26.0", "go1.27rc1", "go2.0", "go1.26.8 X:nodwarf5"])
def test_a_go_that_is_new_enough_is_accepted(tmp_path: Path, version: str) -> None:
    _script(tmp_path / "go", f"echo '{version}'")
    assert build.go_program({"PATH": str(tmp_path)}) == str(tmp_path / "go")


def test_the_binary_reports_its_release() -> None:
    flags = build.build_flags("v1.37.2")
    assert flags[:2] == ["-trimpath", "-buildvcs=false"]
    assert "version.gitVersion=v1.37.2" in flags[-1]
    assert "version.gitMajor=1 " in flags[-1]
    assert flags[-1].endswith("version.gitMinor=37")


def test_the_error_contains_the_output_of_a_failed_command() -> None:
    with raises(build.BuildError, match=r"main\.go:3: no such thing"):
        list(
            build.lines_of(["sh", "-c", "echo main.go:3: no such thing; exit 1"], {"PATH": "/bin"})
        )


def test_silence_is_reported_so_that_the_time_can_be_shown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    lines = build.lines_of(["cat", str(tmp_path / "pipe")], {"PATH": os.environ["PATH"]})
    assert next(lines) is None
    (tmp_path / "pipe").write_text("a\n\nb\n")
    assert [line for line in lines if line is not None] == ["a", "b"]


def test_a_second_build_waits_for_the_first_and_reports_it(tmp_path: Path) -> None:
    stream = io.StringIO()
    order: list[str] = []

    def second() -> None:
        with build.locked(tmp_path, stream):
            order.append("second")

    thread = threading.Thread(target=second)
    with build.locked(tmp_path, io.StringIO()):
        thread.start()
        eventually("the second one waits", lambda: stream.getvalue().endswith("\n"))
        check(stream.getvalue(), reason="log")
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
