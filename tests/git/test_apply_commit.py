"""What is applied is committed: these files alone, or nothing. Real repositories, the real git."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from daypass.deploy.commit import Checkout, Committed
from daypass.deploy.repository import GitError
from daypass.render.facts import KubernetesFacts
from daypass.render.folder import write
from daypass.render.manifests import render_tree
from support.deploying import BOTH, ONLY_EKF
from support.ekf import git
from support.messages import raises
from support.rendered import config_of

Tree = dict[str, str]


def tree_of(text: str) -> Tree:
    """What a config renders to."""
    return render_tree(config_of(text), KubernetesFacts())


def keep(root: Path, text: str, opens: tuple[str, ...] = ()) -> Committed | None:
    """What `daypass apply` does with a repository: look, write, commit."""
    folder = root / "deploy"
    config = root / "daypass.yaml"
    config.write_text(text)
    checkout, tree = Checkout(folder, config), tree_of(text)
    checkout.verify(tree)
    write(folder, tree)
    return checkout.commit(tree, opens)


def told(root: Path, *arguments: str) -> list[str]:
    """What git says, by line."""
    return git(root, *arguments).splitlines()


def snapshot(root: Path) -> tuple[str, str, str]:
    """Where the repository stands: HEAD, what is staged and what is not."""
    return (
        git(root, "rev-parse", "HEAD"),
        git(root, "diff", "--cached"),
        git(root, "status", "--porcelain", "--untracked-files=all"),
    )


def test_the_commit_holds_the_rendered_files_and_the_config_and_says_what_it_opens(
    repository: Path,
) -> None:
    committed = keep(repository, BOTH, ("https://ekf.example.com/kubernetes is published",))
    assert committed is not None
    assert committed.branch == git(repository, "branch", "--show-current").strip()
    files = told(repository, "show", "--name-only", "--format=", "HEAD")
    assert sorted(files) == sorted(["daypass.yaml", *(f"deploy/{path}" for path in tree_of(BOTH))])
    message = git(repository, "show", "-s", "--format=%B", "HEAD")
    assert message.startswith("Publish ekf, serving\n\nOpens: https://ekf.example.com/kubernetes")
    assert told(repository, "status", "--porcelain") == []


def test_there_is_no_commit_where_nothing_has_changed(repository: Path) -> None:
    keep(repository, BOTH)
    before = snapshot(repository)
    assert keep(repository, BOTH) is None
    assert snapshot(repository) == before


def test_a_domain_that_goes_is_a_commit_without_its_files(repository: Path) -> None:
    keep(repository, BOTH)
    keep(repository, ONLY_EKF)
    assert not [f for f in told(repository, "ls-files") if f.startswith("deploy/domains/serving")]
    assert told(repository, "show", "-s", "--format=%s", "HEAD") == ["Withdraw serving"]


def test_what_others_have_staged_and_changed_stays_as_it_is_and_out_of_the_commit(
    repository: Path,
) -> None:
    (repository / "staged.txt").write_text("staged\n")
    git(repository, "add", "staged.txt")
    (repository / "staged.txt").write_text("and changed since\n")
    (repository / "untracked.txt").write_text("untracked\n")
    (repository / "deploy").mkdir()
    (repository / "deploy" / "theirs.yaml").write_text("theirs: true\n")
    keep(repository, BOTH)
    files = told(repository, "show", "--name-only", "--format=", "HEAD")
    assert not {"staged.txt", "untracked.txt", "deploy/theirs.yaml"} & set(files)
    assert told(repository, "status", "--porcelain") == [
        "AM staged.txt", "?? deploy/theirs.yaml", "?? untracked.txt",
    ]  # fmt: skip
    assert git(repository, "show", ":staged.txt") == "staged\n"


def test_after_a_crash_at_any_step_the_same_again_makes_the_one_commit(repository: Path) -> None:
    keep(repository, BOTH)
    head = git(repository, "rev-parse", "HEAD")
    write(repository / "deploy", tree_of(ONLY_EKF))  # it ended before the commit
    (repository / "daypass.yaml").write_text(ONLY_EKF)
    assert keep(repository, ONLY_EKF) is not None
    assert git(repository, "rev-parse", "HEAD~1") == head
    write(repository / "deploy", tree_of(BOTH))
    git(repository, "add", "--intent-to-add", "deploy")  # or after this
    git(repository, "rm", "--cached", "--quiet", "deploy/base/service.yaml")
    assert keep(repository, BOTH) is not None
    assert told(repository, "status", "--porcelain") == []


def hook(name: str, script: str) -> Callable[[Path], None]:
    """A hook of the repository's."""

    def make(root: Path) -> None:
        file = root / ".git" / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return make


def sign_without_a_key(root: Path) -> None:
    """Signing is required, and no key is to be had."""
    git(root, "config", "commit.gpgsign", "true")
    git(root, "config", "gpg.format", "ssh")
    git(root, "config", "user.signingkey", "/nowhere/key.pub")


LATE = {
    "a hook that refuses": (hook("pre-commit", "echo no secrets here >&2; exit 1"), "no secrets"),
    "a message that is refused": (hook("commit-msg", "echo no ticket >&2; exit 1"), "no ticket"),
    "a signature without a key": (sign_without_a_key, "/nowhere/key.pub"),
}


@pytest.mark.parametrize(("make", "words"), LATE.values(), ids=LATE)
def test_where_git_refuses_the_index_is_as_it_was_and_the_files_stay_as_rendered(
    repository: Path, make: Callable[[Path], object], words: str
) -> None:
    keep(repository, ONLY_EKF)
    (repository / "staged.txt").write_text("staged\n")
    git(repository, "add", "staged.txt")
    make(repository)
    before = snapshot(repository)
    with raises(GitError, hide=r"(?s)error: .*fatal: [^\n]*") as raised:
        keep(repository, BOTH.replace("front: ingress-nginx", "front: ingress"))
    assert words in raised.value.hint
    assert "--no-commit" in raised.value.hint
    after = snapshot(repository)
    assert after[:2] == before[:2]
    folder = repository / "deploy"
    assert (folder / "domains/serving/virtualservice.yaml").exists()


def detach(root: Path) -> None:
    """HEAD is on no branch."""
    git(root, "checkout", "--quiet", "--detach")


def begin_merge(root: Path) -> None:
    """A merge that stands still at a conflict."""
    branch = git(root, "branch", "--show-current").strip()
    for name in ("theirs", branch):
        git(root, "checkout", "--quiet", *(["-b"] if name == "theirs" else []), name)
        (root / "contested").write_text(name)
        git(root, "add", "contested")
        git(root, "commit", "--quiet", "-m", name)
    with pytest.raises(CalledProcessError):
        git(root, "merge", "theirs")


def begin_rebase(root: Path) -> None:
    """A rebase that stands still."""
    git(root, "commit", "--quiet", "--allow-empty", "-m", "second")
    git(root, "-c", "sequence.editor=sed -i 1ibreak", "rebase", "--interactive", "HEAD~1")


def forget_who(root: Path) -> None:
    """Nobody has said who commits."""
    for name in ("user.name", "user.email"):
        git(root, "config", "--unset", name)


def edit_by_hand(root: Path) -> None:
    """A rendered file was changed, and not committed."""
    file = root / "deploy" / "base" / "service.yaml"
    file.write_text(file.read_text() + "# by hand\n")


def ignore(root: Path) -> None:
    """A file that is to be new is one that git is told to ignore."""
    (root / ".git" / "info" / "exclude").write_text("virtualservice.yaml\n")


EARLY = {
    "ignored": (ignore, "deploy/domains/serving/virtualservice.*\n.*.gitignore"),
    "no branch": (detach, "HEAD .*/deployments.*\ngit switch "),
    "a merge": (begin_merge, " merge .*/deployments"),
    "a rebase": (begin_rebase, " rebase .*/deployments"),
    "nobody": (forget_who, "\ngit config user.name "),
    "a change by hand": (edit_by_hand, "deploy/base/service.yaml .*\n.*git .*stash "),
}


@pytest.mark.parametrize(("make", "words"), EARLY.values(), ids=EARLY)
def test_what_cannot_be_committed_is_told_before_a_file_is_touched(
    repository: Path, make: Callable[[Path], object], words: str
) -> None:
    keep(repository, ONLY_EKF)
    make(repository)
    before = snapshot(repository)
    tree = tree_of(BOTH)
    with raises(GitError, match=words) as raised:
        Checkout(repository / "deploy", repository / "daypass.yaml").verify(tree)
    assert raised.value.hint
    assert snapshot(repository) == before


def test_unmerged_paths_are_told_by_name(repository: Path) -> None:
    keep(repository, ONLY_EKF)
    file = repository / "deploy" / "base" / "service.yaml"
    text = file.read_text()
    file.write_text(text.replace("443", "444"))
    git(repository, "stash", "--quiet")
    file.write_text(text.replace("443", "445"))
    git(repository, "commit", "--quiet", "--all", "-m", "another")
    with pytest.raises(CalledProcessError):
        git(repository, "stash", "pop")
    with raises(GitError, match=r"deploy/base/service\.yaml .*\n"):
        Checkout(repository / "deploy", repository / "daypass.yaml").verify(tree_of(ONLY_EKF))


def test_a_worktree_commits_to_its_own_branch(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", "-b", "staging", str(tmp_path / "staging"))
    before = git(repository, "rev-parse", "HEAD")
    committed = keep(tmp_path / "staging", BOTH)
    assert committed is not None
    assert committed.branch == "staging"
    assert git(repository, "rev-parse", "HEAD") == before


def test_a_submodule_is_committed_to_and_its_superproject_named(
    repository: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    for name, value in (("user.name", "x"), ("user.email", "x@example.com")):
        git(outer, "config", name, value)
    source = ("-c", "protocol.file.allow=always")
    git(outer, *source, "submodule", "--quiet", "add", str(repository), "inner")
    inner = outer / "inner"
    git(inner, "config", "user.name", "x")
    git(inner, "config", "user.email", "x@example.com")
    committed = keep(inner, BOTH)
    assert committed is not None
    assert Path(committed.superproject) == outer
    assert "inner" in git(outer, "status", "--porcelain")


def test_the_first_commit_of_a_repository_may_be_ours_and_a_refused_one_leaves_no_trace(
    tmp_path: Path,
) -> None:
    root = tmp_path / "new"
    root.mkdir()
    git(root, "init", "--quiet")
    for name, value in (("user.name", "x"), ("user.email", "x@example.com")):
        git(root, "config", name, value)
    refuse = hook("pre-commit", "exit 1")
    refuse(root)
    with raises(GitError, match="--no-commit"):
        keep(root, BOTH)
    assert told(root, "ls-files") == []
    (root / ".git/hooks/pre-commit").unlink()
    assert keep(root, BOTH) is not None


def test_a_config_elsewhere_is_none_of_the_commits_business(
    repository: Path, tmp_path: Path
) -> None:
    config = tmp_path / "daypass.yaml"
    config.write_text(BOTH)
    checkout, tree = Checkout(repository / "deploy", config), tree_of(BOTH)
    checkout.verify(tree)
    write(repository / "deploy", tree)
    assert checkout.commit(tree, ()) is not None
    assert "daypass.yaml" not in told(repository, "ls-files")
