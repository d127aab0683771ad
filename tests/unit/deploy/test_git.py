"""Commit messages of `daypass apply`."""

from __future__ import annotations

import pytest

from daypass.deploy.git import SUBJECT_CHARACTERS, FileChange, commit_message

NEW, OTHER, GONE = "??", " M", " D"


def message_of(*changes: tuple[str, str], opens: tuple[str, ...] = ()) -> tuple[str, str]:
    return commit_message(
        [(FileChange(letters=how, path=f"deploy/{p}"), p) for how, p in changes], opens
    )


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ([(NEW, "domains/ekf/kustomization.yaml"), (NEW, "base/service.yaml")], "Publish ekf"),
        ([(GONE, "domains/b/kustomization.yaml"), (OTHER, "base/x.yaml")], "Withdraw b"),
        (
            [(NEW, "domains/a/kustomization.yaml"), (GONE, "domains/b/kustomization.yaml")],
            "Publish a; Withdraw b",
        ),
        (
            [(OTHER, "base/deployment.yaml"), (OTHER, "base/configmap.yaml")],
            "Change the door: configmap, deployment",
        ),
        ([(OTHER, "../daypass.yaml")], "Change daypass.yaml"),
    ],
)
def test_the_subject_names_published_domains_or_else_changed_files(
    changes: list[tuple[str, str]], subject: str
) -> None:
    assert message_of(*changes)[0] == subject


def test_the_body_lists_widenings_and_every_file() -> None:
    _, body = message_of(
        (OTHER, "base/a.yaml"), (GONE, "base/b.yaml"), opens=("policy.mode: warn",)
    )
    assert body.splitlines()[:4] == [
        "Opens: policy.mode: warn",
        "",
        "change deploy/base/a.yaml",
        "remove deploy/base/b.yaml",
    ]


def test_the_subject_is_never_longer_than_72_characters() -> None:
    names = [(NEW, f"domains/domain-{number}/kustomization.yaml") for number in range(30)]
    subject, body = message_of(*names)
    assert len(subject) <= SUBJECT_CHARACTERS
    assert subject.endswith("...")
    assert body.count("\nadd ") + body.startswith("add ") == 30
