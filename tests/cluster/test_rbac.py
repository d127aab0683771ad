"""Each command does its work with the rules of docs/reference/rbac.md, and names a missing one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tools.docs.pages import ROOT, all_pages

from daypass.cli import main
from support import identities
from support.admin import Document
from support.clerks import GROUP, kubeconfig_with
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.desk import Desk
from support.doc_data import documents_in

CREATE = ("identity", "create", "bot")
GRANT = ("identity", "authorize", "bot", "--in", "PROFILE", "--role", "view", "--yes")
CONFIG = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside, gateway: istio-system/ingress}}
policy: {audiences: [gate]}
gate: {audience: gate, check: both, image: 'registry.example.com/daypass:0.1.0'}
"""
LINES: dict[str, tuple[tuple[str, ...], ...]] = {
    "identity create": (CREATE,),
    "identity list": (CREATE, ("identity", "list")),
    "identity authorize": (CREATE, GRANT),
    "identity unauthorize": (CREATE, GRANT, ("identity", "unauthorize", "bot", "--in", "PROFILE")),
    "identity rotate": (CREATE, ("identity", "rotate", "bot", "--overlap", "0", "--force")),
    "identity revoke": (CREATE, ("identity", "revoke", "bot", "--yes")),
    "identity delete": (CREATE, GRANT, ("identity", "delete", "bot", "--yes")),
    "policy apply": (("policy", "apply"),),
    "apply": (("apply", "--yes", "--no-commit", "--no-wait"),),
}
"""What an administrator does before, and the command itself."""
PAGE = next(page for page in all_pages() if page.path.name == "rbac.md")
ROLES: dict[str, list[Document]] = {
    command: [
        document
        for block in PAGE.blocks
        for document in documents_in(block)
        if re.fullmatch(
            f"daypass-{command.replace(' ', '-')}(-grants|-cluster)?", document["metadata"]["name"]
        )
    ]
    for command in LINES
}
A_RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One with Istio's kinds and a role of Kubeflow, which other modules do without."""
    with ControlPlane.start(tmp_path_factory.mktemp("rbac")) as running:
        install_istio(running)
        role = {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "rules": [A_RULE]}
        path = f"{identities.RBAC}/clusterroles/kubeflow-view"
        running.admin.apply(path, {**role, "metadata": {"name": "kubeflow-view"}})
        running.admin.create("/api/v1/namespaces", {"metadata": {"name": "istio-system"}})
        yield running


@pytest.fixture
def profile(plane: ControlPlane) -> str:
    """A namespace in which roles are granted."""
    return plane.make_namespace()


CASES = [
    (command, omitted)
    for command, roles in ROLES.items()
    for omitted in (None, *(rule for role in roles for rule in role["rules"]))
]


def test_every_role_of_a_command_is_tried() -> None:
    commands = re.findall(r"^## daypass (.*)", (ROOT / PAGE.path).read_text(), re.M)
    assert {*commands} == {*ROLES, "gate watch", "gate serve"}
    assert all(ROLES.values())


@pytest.mark.parametrize(
    ("command", "omitted"),
    CASES,
    ids=lambda it: ",".join(it["resources"]) if isinstance(it, dict) else str(it),
)
def test_a_command_works_with_its_rules_and_reports_a_missing_one(
    desk: Desk, profile: str, command: str, omitted: Document | None
) -> None:
    (desk.folder / "daypass.yaml").write_text(CONFIG)
    *before, line = LINES[command]
    for each in before:
        assert _run(desk, each, profile)[0] == 0
    roles = [
        {**role, "rules": [rule for rule in role["rules"] if rule is not omitted]}
        for role in ROLES[command]
    ]
    grants = _grants(desk, profile, roles)
    file = kubeconfig_with(desk.plane, desk.folder, grants)
    code, said = _run(desk, line, profile, "--kubeconfig", str(file))
    reported = [
        word for word in ("needs this rule", "you may not", "not currently held") if word in said
    ]
    if omitted is None:
        assert (code, reported) == (0, []), said
    else:
        assert reported, said


def _run(desk: Desk, line: tuple[str, ...], profile: str, *options: str) -> tuple[int, str]:
    words = [word.replace("PROFILE", profile) for word in line]
    if words[:2] == ["identity", "create"]:
        words += [*desk.door, "--audience", "gate", "--force"]
    if words[0] == "identity":
        words += ["-n", desk.namespace]
    desk.output.readouterr()
    code = main([*words, *options])
    return code, "".join(desk.output.readouterr())


def _grants(desk: Desk, profile: str, roles: list[Document]) -> list[tuple[str, list[Document]]]:
    """The rules of ClusterRoles, each with the namespace that its name says."""
    places = {"cluster": "", "grants": profile}
    return [
        (places.get(each["metadata"]["name"].rpartition("-")[2], desk.namespace), each["rules"])
        for each in roles
    ]
