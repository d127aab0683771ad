"""`daypass init --adopt hosts` in real git repositories, built by the real kubectl."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.ekf import (
    FOLDERS,
    LONG_PATCH,
    PATCH,
    PLACEHOLDER,
    RokDeploy,
    add_hook,
    adopt,
    built_ingress,
    git,
    make_ekf,
    make_repository,
)
from support.messages import check

COMMIT = r"(?<=committed as )[0-9a-f]+"
MESSAGE = "Expose Kubernetes TokenRequest API under /kubernetes"
EKF_PATCH = f"{FOLDERS['ekf']}/{PATCH}"
SERVING = "arrikto-cluster-serving.serving.example.com"
SERVING_PATCH = f"{FOLDERS['serving']}/{PATCH}"


@pytest.fixture
def rok_deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RokDeploy:
    """A rok-deploy that comes first in PATH."""
    program = RokDeploy(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{program.folder}{os.pathsep}{os.environ['PATH']}")
    return program


EKF = ("hosts", "--ekf-host", "ekf.example.com")


def test_one_command_does_the_procedure_of_the_guide(
    repository: Path, rok_deploy: RokDeploy
) -> None:
    assert adopt(repository, *EKF, "--commit", "--apply") == 0

    assert git(repository, "show", "--format=", "--unified=0", "HEAD").splitlines()[4:] == [
        "@@ -5 +5 @@",
        f'-      "value": "{PLACEHOLDER}"',
        '+      "value": "ekf.example.com"',
    ]
    assert git(repository, "log", "-1", "--format=%B").strip() == MESSAGE
    assert git(repository, "status", "--porcelain") == ""
    assert rok_deploy.calls == [(str(repository), f"--apply {FOLDERS['ekf']}")]
    assert built_ingress(repository)["spec"]["rules"][0]["host"] == "ekf.example.com"


def test_each_domain_changes_one_line(repository: Path, rok_deploy: RokDeploy) -> None:
    assert adopt(repository, *EKF, "--serving-host", "serving.example.com", "--apply") == 0

    assert git(repository, "diff", "--numstat").splitlines() == [
        f"1\t1\t{SERVING_PATCH}",
        f"1\t1\t{EKF_PATCH}",
    ]
    assert (repository / SERVING_PATCH).read_text() == (
        '[ { "op": "replace", "path": "/spec/rules/0/host", "value": "serving.example.com" } ]\n'
    )
    assert [words for _, words in rok_deploy.calls] == [
        f"--apply {folder}" for folder in FOLDERS.values()
    ]


def test_an_unchanged_host_makes_no_commit(
    repository: Path, rok_deploy: RokDeploy, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(repository, *EKF, "--commit")
    before = git(repository, "rev-parse", "HEAD")
    capsys.readouterr()

    assert adopt(repository, *EKF, "--commit", "--apply") == 0
    check(capsys.readouterr().err, reason="unchanged")
    assert git(repository, "rev-parse", "HEAD") == before
    assert len(rok_deploy.calls) == 1  # the committed state is still applied


def test_a_dry_run_shows_the_diff_and_changes_nothing(
    repository: Path, rok_deploy: RokDeploy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt(repository, *EKF, "--dry-run", "--commit", "--apply") == 0
    shown = capsys.readouterr().out
    assert git(repository, "status", "--porcelain") == ""
    assert rok_deploy.calls == []

    adopt(repository, *EKF)
    assert git(repository, "diff", "--no-color").splitlines()[2:] == shown.splitlines()


def test_other_changed_and_staged_files_stay_out_of_the_commit(repository: Path) -> None:
    (repository / "README.md").write_text("Changed.\n")
    (repository / "new.yaml").write_text("a: 1\n")
    git(repository, "add", "new.yaml")

    assert adopt(repository, *EKF, "--commit") == 0
    assert git(repository, "show", "--format=", "--name-only").split() == [EKF_PATCH]
    assert git(repository, "status", "--porcelain").splitlines() == [" M README.md", "A  new.yaml"]


def test_a_patch_with_uncommitted_edits_is_not_committed(
    repository: Path, refused: Callable[..., None]
) -> None:
    begun = LONG_PATCH.replace(PLACEHOLDER, "half.example.com")
    (repository / EKF_PATCH).write_text(begun)
    refused(repository, *EKF, "--commit", names=(EKF_PATCH,))
    assert adopt(repository, *EKF) == 0  # edited without --commit


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (partial(add_hook, name="pre-commit", script="echo not on a Friday >&2; exit 1"),
         "not on a Friday"),
        (lambda root: git(root, "config", "--unset", "user.name"), "git config user.name"),
        (lambda root: git(root, "config", "--unset", "user.email"), "git config user.email"),
    ],
    ids=["hook", "no name", "no address"],
)  # fmt: skip
def test_a_refused_commit_leaves_nothing_behind(
    repository: Path, rok_deploy: RokDeploy, refused: Callable[..., None],
    change: Callable[[Path], object], value: str,
) -> None:  # fmt: skip
    change(repository)
    refused(repository, *EKF, "--commit", "--apply", names=(value,))
    assert rok_deploy.calls == []


@pytest.mark.parametrize("remote", [True, False], ids=["remote", "no remote"])
def test_a_commit_without_a_remote_gives_a_note(
    repository: Path, remote: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if remote:
        git(repository, "remote", "add", "origin", "https://git.example.com/deployments.git")
    assert adopt(repository, *EKF, "--commit") == 0
    stderr = capsys.readouterr().err
    assert ("git remote add origin URL\n" in stderr) is not remote
    check(stderr, reason="done", hide=COMMIT)


def test_a_folder_without_git_can_be_edited_and_not_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    make_ekf(root)

    assert adopt(root, *EKF, "--commit") == 2
    stderr = capsys.readouterr().err
    check(stderr, "git init", reason="usage", hide="fatal: .*")
    assert (root / EKF_PATCH).read_text() == LONG_PATCH
    assert adopt(root, *EKF) == 0
    assert built_ingress(root)["spec"]["rules"][0]["host"] == "ekf.example.com"


def test_a_repository_below_the_top_of_its_work_tree_is_committed_to(tmp_path: Path) -> None:
    root = tmp_path / "clusters/production"
    root.mkdir(parents=True)
    make_ekf(root)
    make_repository(tmp_path / "clusters")

    assert adopt(root, *EKF, "--commit") == 0
    changed = git(tmp_path / "clusters", "show", "--format=", "--name-only").split()
    assert changed == [f"production/{EKF_PATCH}"]


@pytest.mark.parametrize("domain", ["ekf", "serving"])
def test_one_of_the_overlays_suffices(tmp_path: Path, domain: str) -> None:
    root = tmp_path / "one"
    root.mkdir()
    make_ekf(root, only=domain)

    assert adopt(root, "hosts", f"--{domain}-host", "one.example.com") == 0
    assert built_ingress(root, domain)["spec"]["rules"][0]["host"] == "one.example.com"
    other = "serving" if domain == "ekf" else "ekf"
    assert adopt(root, "hosts", f"--{other}-host", "two.example.com") == 2


def test_a_host_changed_by_another_patch_is_refused_and_nothing_is_written(
    repository: Path, refused: Callable[..., None]
) -> None:
    kustomization = repository / FOLDERS["ekf"] / "kustomization.yaml"
    kustomization.write_text(
        kustomization.read_text()
        + "- target: {kind: Ingress}\n"
        + '  patch: \'[{"op": "replace", "path": "/spec/rules/0/host", "value": "its.own"}]\'\n'
    )
    refused(repository, *EKF, names=(FOLDERS["ekf"], "its.own"))


def test_an_overlay_that_cannot_be_built_is_edited_with_a_warning(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(repository / "rok/kubernetes-proxy/base")

    assert adopt(repository, *EKF) == 0
    stderr = capsys.readouterr().err
    assert FOLDERS["ekf"] in stderr
    check(stderr, reason="warning", hide="error: .*")


def test_a_failed_rok_deploy_is_an_error_and_the_commit_stays(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    broken = RokDeploy(tmp_path / "broken", code=7)
    monkeypatch.setenv("PATH", f"{broken.folder}{os.pathsep}{os.environ['PATH']}")

    assert adopt(repository, *EKF, "--commit", "--apply") == 1
    stderr = capsys.readouterr().err
    assert " 7" in stderr
    assert f"rok-deploy --apply {FOLDERS['ekf']}" in stderr
    check(stderr, reason="failed", hide=COMMIT)
    assert git(repository, "log", "-1", "--format=%s").strip() == MESSAGE


def test_without_a_tool_to_apply_nothing_is_written(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    assert adopt(repository, *EKF, "--apply") == 2
    assert (repository / EKF_PATCH).read_text() == LONG_PATCH


def test_the_mode_and_line_endings_of_a_patch_are_kept(repository: Path) -> None:
    path = repository / EKF_PATCH
    path.write_bytes(LONG_PATCH.replace("\n", "\r\n").encode())
    path.chmod(0o664)

    assert adopt(repository, *EKF) == 0
    expected = LONG_PATCH.replace(PLACEHOLDER, "ekf.example.com").replace("\n", "\r\n")
    assert path.read_bytes() == expected.encode()
    assert path.stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ("--ekf-host", "--serving-host")),
        (("--ekf-host", "*.example.com"), ("--ekf-host", "'*.example.com'",)),
        (("--ekf-host", "EKF.example.com"), ("--ekf-host", "'ekf.example.com'",)),
        (("--ekf-host", "https://ekf.example.com"), ("--ekf-host", "'https://ekf.example.com'",)),
        (("--ekf-host", "a.example.com", "--serving-host", "a.example.com"), ("a.example.com",)),
        (("--ekf-host", SERVING), (SERVING,)),
        (("--host", "ekf.example.com"), ("--host", "--ekf-host", "--serving-host")),
    ],
    ids=["none", "wildcard", "capitals", "a URL", "both the same", "that of the other", "--host"],
)  # fmt: skip
def test_invalid_options_are_named_and_change_nothing(
    repository: Path, words: tuple[str, ...], names: tuple[str, ...], refused: Callable[..., None]
) -> None:
    refused(repository, "hosts", *words, code=2, names=names)
