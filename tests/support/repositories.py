"""Git repositories of tests."""

from __future__ import annotations

from pathlib import Path

from support.programs import output_of


def git(root: Path, *arguments: str) -> str:
    return output_of("git", "-C", root, *arguments)


def git_init(root: Path) -> None:
    """A git repository with somebody who commits, and no commit yet."""
    root.mkdir(exist_ok=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.com")


def add_hook(root: Path, name: str, script: str) -> None:
    """A git hook of a repository, by the lines of a shell script."""
    file = root / ".git" / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def make_repository(root: Path) -> Path:
    git_init(root)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Deploy")
    return root
