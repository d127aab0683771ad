"""`daypass apply` commits the applied files and no others, in real repositories."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from daypass.deploy.repository import Checkout, GitError, write
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_folders, render_tree
from support.deploying import BOTH, ONLY_EKF
from support.messages import raises
from support.programs import run
from support.rendered import config_of
from support.repositories import add_hook, git

Tree = dict[str, str]


def tree_of(text: str) -> Tree:
    return render_tree(render_folders(config_of(text), ClusterFacts()))


def write_and_commit(
    root: Path, text: str, opens: tuple[str, ...] = (), named: tuple[Path, ...] = ()
) -> str | None:
    """What `daypass apply` does with a repository. `named`: the files that the config names."""
    folder = root / "deploy"
    config = root / "daypass.yaml"
    config.write_text(text)
    tree = tree_of(text)
    checkout = Checkout(folder, (config, *named), tree)
    write(folder, tree)
    return checkout.commit(opens)


def git_lines(root: Path, *arguments: str) -> list[str]:
    return git(root, *arguments).splitlines()


def test_the_commit_has_the_rendered_files_and_the_config_and_lists_widenings(
    repository: Path,
) -> None:
    opens = ("https://ekf.example.com/kubernetes is published",)
    committed = write_and_commit(repository, BOTH, opens)
    assert committed is not None
    assert committed.startswith("[main ")
    files = git_lines(repository, "show", "--name-only", "--format=", "HEAD")
    assert sorted(files) == sorted(["daypass.yaml", *(f"deploy/{path}" for path in tree_of(BOTH))])
    message = git(repository, "show", "-s", "--format=%B", "HEAD")
    assert message.startswith("Apply base, domains/ekf, domains/serving and policy\n")
    assert "\nOpens: https://ekf.example.com/kubernetes is published\n" in message
    assert git_lines(repository, "status", "--porcelain") == []


def test_foreign_staged_and_changed_files_stay_out_of_the_commit(repository: Path) -> None:
    (repository / "staged.txt").write_text("staged\n")
    git(repository, "add", "staged.txt")
    (repository / "staged.txt").write_text("and changed since\n")
    (repository / "untracked.txt").write_text("untracked\n")
    (repository / "deploy").mkdir()
    (repository / "deploy" / "theirs.yaml").write_text("theirs: true\n")
    write_and_commit(repository, BOTH)
    files = git_lines(repository, "show", "--name-only", "--format=", "HEAD")
    assert not {"staged.txt", "untracked.txt", "deploy/theirs.yaml"} & set(files)
    assert git_lines(repository, "status", "--porcelain") == [
        "AM staged.txt", "?? deploy/theirs.yaml", "?? untracked.txt",
    ]  # fmt: skip
    assert git(repository, "show", ":staged.txt") == "staged\n"


def test_a_retry_after_a_crash_makes_one_commit(repository: Path) -> None:
    write_and_commit(repository, BOTH)
    head = git(repository, "rev-parse", "HEAD")
    write(repository / "deploy", tree_of(ONLY_EKF))  # a crash before the commit
    (repository / "daypass.yaml").write_text(ONLY_EKF)
    assert write_and_commit(repository, ONLY_EKF) is not None
    assert git(repository, "rev-parse", "HEAD~1") == head
    write(repository / "deploy", tree_of(BOTH))
    assert write_and_commit(repository, BOTH) is not None
    assert git_lines(repository, "status", "--porcelain") == []


REFUSING: dict[str, tuple[Callable[[Path], object], str]] = {
    "a hook": (
        partial(add_hook, name="pre-commit", script="echo no secrets here >&2; exit 1"),
        "no secrets",
    ),
    "nobody": (
        lambda root: git(root, "config", "--remove-section", "user"), "user.email",
    ),
    "an ignored file": (
        lambda root: (root / ".git/info/exclude").write_text("virtualservice.yaml\n"),
        "deploy/domains/serving/virtualservice",
    ),
    "a merge": (lambda root: begin_merge(root), "merge"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), REFUSING.values(), ids=REFUSING)
def test_a_commit_that_git_refuses_keeps_what_is_staged_and_the_rendered_files(
    repository: Path, make: Callable[[Path], object], words: str
) -> None:
    write_and_commit(repository, ONLY_EKF)
    make(repository)
    (repository / "staged.txt").write_text("staged\n")
    git(repository, "add", "staged.txt")
    head = git(repository, "rev-parse", "HEAD")
    with raises(GitError, hide="(?s)\\n.*(?=\\nor commit)") as raised:
        write_and_commit(repository, BOTH.replace("front: ingress-nginx", "front: istio"))
    assert words in raised.value.hint
    assert "--no-commit" in raised.value.hint
    assert git(repository, "rev-parse", "HEAD") == head
    assert "A  staged.txt" in git_lines(repository, "status", "--porcelain")
    assert (repository / "deploy/domains/serving/virtualservice.yaml").exists()


def begin_merge(root: Path) -> None:
    branch = git(root, "branch", "--show-current").strip()
    for name in ("theirs", branch):
        git(root, "checkout", "--quiet", *(["-b"] if name == "theirs" else []), name)
        (root / "contested").write_text(name)
        git(root, "add", "contested")
        git(root, "commit", "--quiet", "-m", name)
    assert run("git", "-C", root, "merge", "theirs").returncode == 1


def test_files_that_the_config_names_are_committed_with_it(repository: Path) -> None:
    named = (repository / "keys" / "ca.crt", repository / "keys.json")
    named[0].parent.mkdir()
    for text in ("old", "new"):
        for file in named:
            file.write_text(text)
        assert write_and_commit(repository, BOTH, named=named) is not None
        assert git_lines(repository, "status", "--porcelain") == []
    assert git(repository, "show", "HEAD:keys/ca.crt") == "new"


@pytest.mark.parametrize("place", ["ignored", "outside"])
def test_a_file_that_no_clone_would_have_is_an_error(
    repository: Path, tmp_path: Path, place: str
) -> None:
    file = (tmp_path if place == "outside" else repository) / "ca.crt"
    file.write_text("PEM")
    (repository / ".git/info/exclude").write_text("ca.crt\n")
    with raises(GitError, match=r"(?s)ca\.crt.*--no-commit", hide="(?s)\\n.*(?=\\nor commit)"):
        write_and_commit(repository, BOTH, named=(file,))
    assert "daypass.yaml" not in git_lines(repository, "ls-tree", "--name-only", "HEAD")
