"""`daypass init --adopt` in real git repositories, built by the real kubectl."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.config import load
from git.ekf import FOLDERS, PATCH, PLACEHOLDER, adopt, built_ingress
from support.messages import check
from support.repositories import git

MESSAGE = "Expose Kubernetes TokenRequest API under /kubernetes"
OVERLAY = FOLDERS["ekf"]
EKF_PATCH = f"{OVERLAY}/{PATCH}"
KUSTOMIZATION = f"{OVERLAY}/kustomization.yaml"
SERVING_PATCH = f"{FOLDERS['serving']}/{PATCH}"
CLASS = "kubernetes.io/ingress.class"
HOSTS = ("hosts", "--ekf-host", "ekf.example.com")
DOOR = ("door", "--ekf-host", "ekf.example.com")


def test_one_command_does_the_procedure_of_the_guide(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt(repository, *HOSTS, "--commit") == 0

    assert git(repository, "show", "--format=", "--unified=0", "HEAD").splitlines()[4:] == [
        "@@ -5 +5 @@",
        f'-      "value": "{PLACEHOLDER}"',
        '+      "value": "ekf.example.com"',
    ]
    assert git(repository, "log", "-1", "--format=%B").strip() == MESSAGE
    assert git(repository, "status", "--porcelain") == ""
    assert built_ingress(repository)["spec"]["rules"][0]["host"] == "ekf.example.com"

    before = git(repository, "rev-parse", "HEAD")
    assert f"kubectl apply --server-side -k {OVERLAY}" in capsys.readouterr().err
    assert adopt(repository, *HOSTS, "--commit") == 0
    check(capsys.readouterr().err, reason="unchanged")
    assert git(repository, "rev-parse", "HEAD") == before


def test_each_domain_changes_one_line(repository: Path) -> None:
    assert adopt(repository, *HOSTS, "--serving-host", "serving.example.com") == 0

    assert git(repository, "diff", "--numstat").splitlines() == [
        f"1\t1\t{SERVING_PATCH}",
        f"1\t1\t{EKF_PATCH}",
    ]
    assert (repository / SERVING_PATCH).read_text() == (
        '[ { "op": "replace", "path": "/spec/rules/0/host", "value": "serving.example.com" } ]\n'
    )


@pytest.mark.parametrize("words", [HOSTS, DOOR], ids=["hosts", "door"])
def test_a_dry_run_shows_the_diff_and_changes_nothing(
    repository: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt(repository, *words, "--dry-run", "--commit") == 0
    shown = capsys.readouterr().out
    assert git(repository, "status", "--porcelain") == ""

    adopt(repository, *words)
    git(repository, "add", "--intent-to-add", "--all")
    changed = git(repository, "diff", "--no-color").splitlines()
    for mark in ("+", "-"):
        assert sorted(line for line in changed if line.startswith(mark)) == sorted(
            line for line in shown.splitlines() if line.startswith(mark)
        )


def test_the_ingress_to_the_api_server_is_taken_out_of_service(repository: Path) -> None:
    before = built_ingress(repository)
    assert adopt(repository, *DOOR) == 0
    after = built_ingress(repository)
    assert after["metadata"]["annotations"].pop(CLASS) == "handed-over-to-daypass"
    assert before["metadata"]["annotations"].pop(CLASS) == "nginx"
    assert after == before  # the same object: applying it takes effect at once
    (domain,) = load(repository / "daypass.yaml").domains.values()
    assert (domain.host, domain.front, domain.tls) == (
        "ekf.example.com", "ingress-nginx", "outside",
    )  # fmt: skip


@pytest.mark.parametrize("field", ["", "  ingressClassName: nginx\n"], ids=["none", "the field"])
def test_an_ingress_without_a_class_annotation_gets_the_class_field(
    repository: Path, field: str
) -> None:
    base = repository / "rok/kubernetes-proxy/base/ingress.yaml"
    text = base.read_text().replace(f"    {CLASS}: nginx\n", "")
    base.write_text(text.replace("spec:\n", f"spec:\n{field}"))
    assert adopt(repository, *DOOR) == 0
    ingress = built_ingress(repository)
    assert ingress["spec"]["ingressClassName"] == "handed-over-to-daypass"
    assert CLASS not in ingress["metadata"]["annotations"]


@pytest.mark.parametrize(
    "text",
    [
        "resources: [../../base]\npatches:\n  - path: patches/ingress_host.json\n"
        "    target: {kind: Ingress}\n\n# the end\n",
        "resources: [../../base]  # no patches",
    ],
    ids=["indented", "none"],
)
def test_kustomizations_keep_each_line(repository: Path, text: str) -> None:
    file = repository / KUSTOMIZATION
    file.write_text(text)
    assert adopt(repository, *DOOR) == 0
    assert built_ingress(repository)["metadata"]["annotations"][CLASS] == "handed-over-to-daypass"
    found = iter(file.read_text().splitlines())
    assert all(line in found for line in text.splitlines())  # in order


def test_an_adopted_door_is_adopted_again_and_git_revert_takes_it_back(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = git(repository, "rev-parse", "HEAD^{tree}")
    assert adopt(repository, *DOOR, "--commit") == 0
    capsys.readouterr()
    assert adopt(repository, *DOOR) == 0
    check(capsys.readouterr().err, reason="unchanged")
    git(repository, "revert", "--no-edit", "HEAD")
    assert git(repository, "rev-parse", "HEAD^{tree}") == before


def write_patch(text: str) -> Callable[[Path], object]:
    return lambda root: (root / EKF_PATCH).write_text(text)


OPERATION = '{"op": "replace", "path": "/spec/rules/0/host", "value": "a"}'
REFUSED: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "no patch": (lambda root: (root / EKF_PATCH).unlink(), HOSTS, EKF_PATCH),
    "two hosts": (write_patch(f"[{OPERATION}, {OPERATION}]"), HOSTS, EKF_PATCH),
    "the host is elsewhere, too": (
        write_patch(f'[{{"op": "add", "path": "/x", "value": "a"}}, {OPERATION}]'), HOSTS, '"a"',
    ),
    "no kustomization": (lambda root: (root / KUSTOMIZATION).unlink(), DOOR, KUSTOMIZATION),
    "it cannot be built": (
        lambda root: (root / KUSTOMIZATION).write_text("patches: [{path: x}]\n"), DOOR, OVERLAY,
    ),
    "patches in flow style": (
        lambda root: (root / KUSTOMIZATION).write_text(
            "resources: [../../base]\n"
            "patches: [{path: patches/ingress_host.json, target: {kind: Ingress}}]\n"
        ),
        DOOR,
        "- path: patches/daypass_door.yaml",
    ),
    "no host": (lambda _: None, ("hosts",), "--ekf-host"),
    "the same host twice": (lambda _: None, (*DOOR, "--serving-host", HOSTS[2]), HOSTS[2]),
}  # fmt: skip
"""A change to the repository, the words, and what the refusal names."""


@pytest.mark.parametrize(("change", "words", "value"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_as_the_guide_has_it_is_refused_and_unchanged(
    repository: Path, change: Callable[[Path], object], words: tuple[str, ...], value: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change(repository)
    before = git(repository, "diff")
    assert adopt(repository, *words) in (1, 2)
    check(capsys.readouterr().err, value, reason="failed", hide="(?s)error: .*")
    assert git(repository, "diff") == before
