"""Each command does its work with the rules of docs/reference/rbac.md, and names a missing one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tools.docs.pages import ROOT

from cluster.restricted_users import kubeconfig_with
from cluster.rights import (
    OBJECTS,
    PAGE,
    SAME,
    Case,
    assert_rights,
    forget_default_rights,
    grants,
    omissions,
    rights,
    uses_of,
)
from cluster.test_rbac_apply import CASES as DEPLOYING
from daypass.kube.resources import (
    CONFIG_MAPS,
)
from support.admin_shell import AdminShell
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.deadline import eventually
from support.kubeflow import install_kubeflow, make_profile
from support.rendered import config_of
from support.up import Up, up_config
from support.watching import Watch, becomes_published, identity_namespace, install

DOOR = "--door https://ekf.example.com/kubernetes --audience gate"
CREATE = f"identity create bot -n {{namespace}} {DOOR} --force"
GRANT = "identity authorize bot -n {namespace} --in {grants} --role view --yes"
MODEL = "identity authorize bot -n {namespace} --model {grants}/iris --ignore-not-found"
FEDERATE = f"identity federate ci -n {{namespace}} {DOOR} --credentials-out ci.json --force"
CONFIG = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside, gateway: istio-system/ingress}}
policy: {audiences: [gate]}
gates: {default: {audience: gate, check: review}}
gatePods: {image: 'registry.example.com/daypass:0.1.0'}
"""
INGRESS = "front: ingress-nginx, tls: {secret: ekf-tls}"
POLICY_BINDINGS = "validatingadmissionpolicybindings.admissionregistration.k8s.io"
FOR_ROLES = ("create serviceaccounts/token", "watch secrets")
"""A user who makes a Role has to hold its rights."""
CASES = {
    "identity create": Case(
        lines=(CREATE, CREATE),
        held=FOR_ROLES,
        optional=(f"get {POLICY_BINDINGS}", "list serviceaccounts"),
    ),
    "identity federate": Case(
        lines=(f"{FEDERATE} --issuer https://ci.example.com --subject job --source github",),
        held=(*FOR_ROLES, "get rolebindings.rbac.authorization.k8s.io"),
        optional=(f"get {POLICY_BINDINGS}", "list serviceaccounts"),
    ),
    "identity list": Case(
        lines=(f"# {CREATE}", f"# {GRANT}", "identity list -n {namespace}"),
    ),
    "identity show": Case(
        lines=(f"# {CREATE}", f"# {GRANT}", "identity show bot -n {namespace}"),
    ),
    "identity authorize": Case(lines=(f"# {CREATE}", GRANT, MODEL)),
    "identity unauthorize": Case(
        lines=(f"# {CREATE}", f"# {MODEL}", "identity unauthorize bot -n {namespace} --in {grants}")
    ),
    "identity rotate": Case(
        lines=(
            f"# {CREATE}",
            "identity rotate bot -n {namespace} --overlap 0 --force",
            "identity rotate --all -n {namespace} --overlap 0 --credentials-out all",
        )
    ),
    "identity revoke": Case(
        lines=(f"# {CREATE}", "identity revoke bot -n {namespace} --yes"),
        code=3,  # whether the policy denies unbound tokens is not seen
        optional=("create serviceaccounts/token", "get rolebindings.rbac.authorization.k8s.io"),
    ),
    "identity delete": Case(
        lines=(f"# {CREATE}", f"# {GRANT}", "identity delete bot -n {namespace} --yes"),
    ),
    "gate explain": Case(lines=("gate explain --token-file t --host a.example.com",), code=3),
    "status": Case(
        lines=("status --config status.yaml",),
        code=3,
        optional=tuple(use for right in rights("diff") for use in uses_of(right.rule)),
    ),
    "trace": Case(lines=("trace {namespace}/bot audit.log",)),
    "gate deny": Case(lines=("gate deny --jti a", "gate deny --jti b", "gate deny --jti a --undo")),
}


def without_denials(shell: AdminShell) -> None:
    shell.cluster.delete(CONFIG_MAPS, "daypass-denied", "daypass")


def with_a_token(shell: AdminShell) -> None:
    token = shell.plane.make_token(shell.plane.make_identity(shell.namespace), audiences=["gate"])
    (shell.folder / "t").write_text(token.reveal())


def with_a_certificate(shell: AdminShell) -> None:
    text = CONFIG.replace("front: istio, tls: outside, gateway: istio-system/ingress", INGRESS)
    (shell.folder / "status.yaml").write_text(text)


def with_an_audit_log(shell: AdminShell) -> None:
    """One exchange, by a Secret of the namespace that does not exist."""
    user = f"system:serviceaccount:{shell.namespace}:bot"
    event = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete",
        "auditID": "a", "verb": "create", "user": {"username": user}, "sourceIPs": ["10.0.0.1"],
        "requestURI": f"/api/v1/namespaces/{shell.namespace}/serviceaccounts/bot/token",
        "objectRef": {
            "resource": "serviceaccounts", "subresource": "token", "name": "bot",
            "namespace": shell.namespace,
        },
        "annotations": {"authentication.k8s.io/legacy-token-manual-secret": "bot-token"},
        "responseStatus": {"code": 201}, "requestReceivedTimestamp": "2026-11-24T16:00:00Z",
    }  # fmt: skip
    (shell.folder / "audit.log").write_text(f"{json.dumps(event)}\n")


BEFORE: dict[str, Callable[[AdminShell], None]] = {
    "gate deny": without_denials,
    "gate explain": with_a_token,
    "status": with_a_certificate,
    "trace": with_an_audit_log,
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One with Kubeflow, and a gate whose watch publishes."""
    folder = tmp_path_factory.mktemp("rbac")
    with ControlPlane.start(folder / "plane") as running:
        install_kubeflow(running)
        install_kserve(running)
        forget_default_rights(running)
        for name in ("istio-system", "team"):
            running.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        issuer = "cluster: {issuer: 'https://kubernetes.default.svc'}\n"
        config = config_of(CONFIG + issuer)
        install(running, config)
        with Watch(folder / "watch", running, config) as watch:
            watch.wait_leading()
            # Commands wait for it for five seconds, which its first parts may take.
            becomes_published(
                running, running.make_identity(identity_namespace(running)).secret_uid
            )
            yield running


@pytest.mark.parametrize(("command", "omitted"), omissions(CASES))
def test_a_command_works_with_its_rules_and_reports_a_missing_one(
    shell: AdminShell, plane: ControlPlane, command: str, omitted: int | None
) -> None:
    is_identity = command.startswith("identity")
    (shell.folder / ("gate.yaml" if is_identity else "daypass.yaml")).write_text(CONFIG)
    if command in BEFORE:
        BEFORE[command](shell)
    places = {
        "namespace": [shell.namespace],
        "grants": [make_profile(plane)],
        "gate": ["daypass"],
    }
    assert_rights(shell, command, omitted, CASES[command], places)


@pytest.mark.parametrize("omitted", [None, *range(len(rights("up")))])
def test_up_sees_revocations_with_its_rules_and_reports_a_missing_one(
    plane: ControlPlane, tmp_path: Path, omitted: int | None
) -> None:
    granted = [each for number, each in enumerate(rights("up")) if number != omitted]
    file = kubeconfig_with(plane, tmp_path, grants(granted, {"gate": ["daypass"]}))
    local = "door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external"
    config = up_config(
        plane,
        local=f"{{{local}, upstream: 'http://127.0.0.1:9'}}",
        gates="{default: {audience: gate, engine: envoy, hosts: [localhost], check: review}}",
        door="{namespace: daypass}",
    )
    with Up(tmp_path, config, arguments=("--kubeconfig", str(file))) as up:
        if omitted is None:
            up.wait_for_words("the gate has taken the API server's signing keys")
            assert "needs this rule" not in up.words
        else:
            reported = re.compile(
                "needs this rule|cannot get path|not return its issuer|may not create TokenReviews"
            )
            eventually("it is reported", lambda: reported.search(up.words))


def test_each_section_of_the_page_is_tried() -> None:
    sections = re.findall(r"^## daypass (.*)", (ROOT / PAGE.path).read_text(), re.M)
    programs = {"gate watch", "gate serve"}  # in test_rbac_gate.py
    assert {*sections, *SAME} == {*CASES, *DEPLOYING, "up", *programs}


def test_each_block_of_the_page_can_be_applied(plane: ControlPlane) -> None:
    with admin_cluster(plane) as cluster:
        for document in OBJECTS:
            cluster.apply(document, force=True, strict=True)
