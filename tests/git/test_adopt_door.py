"""`daypass init --adopt door`: EKF's Ingress goes out of service, and a door is rendered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.cli import main
from daypass.config import load
from support.ekf import FOLDERS, KUSTOMIZATION, PATCH, adopt, build, built_ingress, git
from support.messages import check

OVERLAY = FOLDERS["ekf"]
CLASS = "kubernetes.io/ingress.class"
HANDED_OVER = "handed-over-to-daypass"


EKF = ("door", "--ekf-host", "ekf.example.com")


def test_the_ingress_to_the_api_server_is_taken_out_of_service(repository: Path) -> None:
    before = built_ingress(repository)
    assert adopt(repository, *EKF) == 0

    after = built_ingress(repository)
    assert after["metadata"]["annotations"].pop(CLASS) == HANDED_OVER
    assert before["metadata"]["annotations"].pop(CLASS) == "nginx"
    assert after == before  # the same object: applying it takes effect at once


@pytest.mark.parametrize("field", ["", "  ingressClassName: nginx\n"], ids=["none", "the field"])
def test_an_ingress_without_a_class_annotation_gets_the_class_field(
    repository: Path, field: str
) -> None:
    base = repository / "rok/kubernetes-proxy/base/ingress.yaml"
    text = base.read_text().replace(f"    {CLASS}: nginx\n", "")
    base.write_text(text.replace("spec:\n", f"spec:\n{field}"))
    assert adopt(repository, *EKF) == 0
    ingress = built_ingress(repository)
    assert ingress["spec"]["ingressClassName"] == HANDED_OVER
    assert CLASS not in ingress["metadata"]["annotations"]


def test_the_door_takes_over_the_host_and_the_prefix(repository: Path) -> None:
    assert adopt(repository, *EKF) == 0

    (domain,) = load(repository / "daypass.yaml").domains.values()
    assert domain.host == "ekf.example.com"
    assert (domain.front, domain.tls) == ("ingress-nginx", "outside")
    (ingress,) = [each for each in build(repository, "deploy") if each["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "ekf.example.com"
    assert [path["path"] for path in rule["http"]["paths"]] == ["/kubernetes"]
    git(repository, "add", "--all")  # files missing from git would be drift, too
    assert main(["render", "--config", str(repository / "daypass.yaml"),
                 "--directory", str(repository / "deploy"), "--check"]) == 0  # fmt: skip


def test_the_kustomization_gains_an_entry_and_keeps_the_rest(repository: Path) -> None:
    assert adopt(repository, *EKF) == 0
    diff = git(repository, "diff", "--unified=0", f"{OVERLAY}/kustomization.yaml").splitlines()
    assert diff[5:] == [
        "+- path: patches/daypass_door.yaml",
        "+  target:",
        "+    group: networking.k8s.io",
        "+    version: v1",
        "+    kind: Ingress",
        "+    name: kubernetes-proxy",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "resources: [../../base]\npatches:\n  - path: patches/ingress_host.json\n"
        "    target: {kind: Ingress}\n\n# the end\n",
        "patches:\n- target: {kind: Ingress}\n  path: patches/ingress_host.json  # host\n\n"
        "resources:\n- ../../base\n",
        "patchesJson6902:\n- target: {group: networking.k8s.io, version: v1, kind: Ingress, "
        "name: kubernetes-proxy}\n  path: patches/ingress_host.json\nresources: [../../base]",
    ],
    ids=["indented", "first", "older list, no line end"],
)
def test_kustomizations_are_extended_in_their_own_style(repository: Path, text: str) -> None:
    file = repository / OVERLAY / "kustomization.yaml"
    file.write_text(text)

    assert adopt(repository, *EKF) == 0
    assert built_ingress(repository)["metadata"]["annotations"][CLASS] == HANDED_OVER
    left = list(text.splitlines())
    for line in file.read_text().splitlines():
        if left and line == left[0]:
            left.pop(0)
    assert left == []  # every line is still there, in order


def list_in_flow_style(root: Path) -> None:
    flow = "patches: [{path: patches/ingress_host.json, target: {kind: Ingress}}]\n"
    (root / OVERLAY / "kustomization.yaml").write_text(f"resources: [../../base]\n{flow}")


def set_class_by_another_patch(root: Path) -> None:
    (root / OVERLAY / "kustomization.yaml").write_text(
        KUSTOMIZATION.format(name="kubernetes-proxy")
        + "commonAnnotations: {kubernetes.io/ingress.class: nginx}\n"
    )


def put_a_file_into_the_output(root: Path) -> None:
    (root / "deploy").mkdir()
    (root / "deploy/kustomization.yaml").write_text("resources: [rok]\n")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (list_in_flow_style,
         (f"{OVERLAY}/kustomization.yaml", "- path: patches/daypass_door.yaml")),
        (set_class_by_another_patch, (OVERLAY,)),
        (put_a_file_into_the_output, ("deploy/kustomization.yaml",)),
    ],
    ids=["flow style", "class of another patch", "foreign file"],
)  # fmt: skip
def test_what_cannot_be_handed_over_is_refused_and_nothing_is_written(
    repository: Path, change: Callable[[Path], None], names: tuple[str, ...],
    refused: Callable[..., None],
) -> None:  # fmt: skip
    change(repository)
    refused(repository, *EKF, names=names)


def test_a_second_run_changes_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert adopt(repository, *EKF, "--commit") == 0
    capsys.readouterr()
    assert adopt(repository, *EKF) == 2  # there is a daypass.yaml
    refusal = capsys.readouterr().err
    check(refusal, "--force", reason="usage")
    assert adopt(repository, *EKF, "--force") == 0
    check(capsys.readouterr().err, reason="unchanged")
    assert git(repository, "status", "--porcelain") == ""


def test_git_revert_restores_the_repository(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD^{tree}")
    assert adopt(repository, *EKF, "--commit") == 0
    git(repository, "revert", "--no-edit", "HEAD")
    assert git(repository, "rev-parse", "HEAD^{tree}") == before


def test_hosts_come_from_the_overlays_except_placeholders(repository: Path) -> None:
    patch = repository / FOLDERS["serving"] / PATCH
    patch.write_text(patch.read_text().replace("arrikto-cluster-", ""))

    assert adopt(repository, "door") == 0
    domains = load(repository / "daypass.yaml").domains
    assert {name: each.host for name, each in domains.items()} == {
        "serving": "serving.serving.example.com"
    }
    assert git(repository, "status", "--porcelain", OVERLAY) == ""
