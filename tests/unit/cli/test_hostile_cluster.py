"""A cluster whose responses contain terminal control characters: none of them is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from daypass._core.findings import Finding, Level
from daypass._core.kubernetes import labels
from daypass.cli import main
from daypass.cli.output import as_text, write_changes
from daypass.cli.verify import Findings, findings_text
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from support.authority import ANY_AUTHORITY

CONTROL_CHARACTERS = (
    "\x1b[2J", "\x1b]0;t\x07", "\r", "\n", "\x00", "\x7f", "\x9b2J", "\x85", "\u2028",
    "\u202e", "\u2066", "\u200b", "\ufeff", "../../x",
)  # fmt: skip
TEXT = "a" + "b".join(CONTROL_CHARACTERS) + "c"


def metadata(**changes: Any) -> dict[str, Any]:
    return {"name": TEXT, "namespace": TEXT, "uid": TEXT, "creationTimestamp": TEXT,
            "resourceVersion": TEXT, "labels": {TEXT: TEXT}, "annotations": {TEXT: TEXT},
            "generation": 1, **changes}  # fmt: skip


BOT = metadata(
    name="bot", namespace="team", labels={labels.MANAGED_BY: labels.MANAGER},
    annotations={labels.IDENTITY: "team/bot", labels.DOOR: TEXT, labels.AUDIENCE: TEXT,
                 labels.DEADLINE: TEXT},
)  # fmt: skip
TOKEN = metadata(
    namespace="team",
    labels={labels.MANAGED_BY: labels.MANAGER, "kubernetes.io/legacy-token-last-used": TEXT},
    annotations={
        "kubernetes.io/service-account.name": "bot",
        labels.IDENTITY: "team/bot",
        labels.RETIRE_AFTER: TEXT,
    },
)
SUBJECT = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}
PODS = {"containers": [{"image": TEXT, "ports": [{"name": "metrics", "containerPort": 1}]}]}
SPEC = {
    "hosts": [TEXT], "host": TEXT, "selector": {TEXT: TEXT}, "servers": [{"hosts": [TEXT]}],
    "template": {"spec": PODS}, **PODS, "ports": [{"name": "web", "port": 1}],
}  # fmt: skip


class HostileApi(httpx2.BaseTransport):
    """Every list has an object of such names, and every answer to a change such a message."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        plural = path.rpartition("/")[2]
        if path == "/version":
            return answer({"gitVersion": TEXT})
        if request.method != "GET":
            return answer({"kind": "Status", "code": 403, "reason": TEXT, "message": TEXT}, 403)
        if path == "/api/v1" or (path.startswith("/apis/") and path.count("/") == 3):
            return answer({"kind": "APIResourceList", "resources": kinds()})
        items = {"serviceaccounts": [{"metadata": BOT}], "secrets": [{"metadata": TOKEN}]}
        anything = {
            "metadata": metadata(), "spec": SPEC, "status": {}, "rules": [], "data": {TEXT: TEXT},
            "roleRef": {"kind": "ClusterRole", "name": TEXT}, "subjects": [SUBJECT],
        }  # fmt: skip
        if plural in {each["name"] for each in kinds()} | {"clusterrolebindings"}:
            head = {"metadata": {"resourceVersion": TEXT}}
            return answer({**head, "items": items.get(plural, [anything])})
        if path.endswith("/serviceaccounts/bot"):
            return answer({"metadata": BOT})
        return answer({**anything, "metadata": metadata(name=plural)})


def kinds() -> list[dict[str, Any]]:
    names = {
        "ServiceAccount": "serviceaccounts", "Secret": "secrets", "RoleBinding": "rolebindings",
        "Role": "roles", "ClusterRole": "clusterroles", "Namespace": "namespaces",
        "AuthorizationPolicy": "authorizationpolicies", "Gateway": "gateways",
        "IngressClass": "ingressclasses", "Ingress": "ingresses", "Service": "services",
        "ClusterIssuer": "clusterissuers", "GatewayClass": "gatewayclasses",
        "HTTPRoute": "httproutes", "VirtualService": "virtualservices",
        "Deployment": "deployments",
        "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    }  # fmt: skip
    return [{"kind": kind, "name": name, "namespaced": True} for kind, name in names.items()]


def answer(document: object, code: int = 200) -> httpx2.Response:
    return httpx2.Response(code, content=json.dumps(document).encode())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the command, and a kubeconfig that leads to the hostile cluster."""
    here = tmp_path / "outer" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    access = ConnectionConfig(
        server="https://api.test", namespace="team", origin="a test", authority=ANY_AUTHORITY
    )
    monkeypatch.setattr(
        Cluster, "open", lambda **_: Cluster(access, transport=HostileApi(), sleep=lambda _: None)
    )
    return here


STATUS = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  ekf: {host: a.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
policy: {audiences: [a]}
gates: {default: {audience: a, check: review, hosts: [a.example.com]}}
gatePods: {image: 'r.example.com/daypass:1'}
metrics: {prometheusNamespaces: [monitoring]}
"""


@pytest.mark.parametrize("output", ["text", "json", "yaml"])
def test_the_status_of_a_hostile_cluster_is_printable(
    output: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "daypass.yaml").write_text(STATUS)
    assert main(["status", "-o", output]) in (0, 1, 3)
    captured = capsys.readouterr()
    assert_printable(captured.out + captured.err)
    assert "DAYPASS_DEBUG" not in captured.err, "an unexpected error"


def assert_printable(text: str) -> None:
    bad = {c for c in text if c != "\n" and not c.isprintable()}
    assert not bad, (bad, text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["identity", "list", "-A", "-o", "wide", "--check"],
        ["identity", "list", "-A", "-o", "json"],
        ["identity", "show", "bot"],
        ["identity", "show", "bot", "-o", "yaml"],
        ["identity", "revoke", "bot"],
        ["identity", "rotate", "bot", "--credentials-out", "-"],
        ["identity", "delete", "bot", "--dry-run"],
        ["identity", "delete", "--expired", "-A", "--dry-run"],
    ],
    ids=" ".join,
)
def test_no_terminal_control_characters_are_printed(
    arguments: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) in (0, 1, 2, 3)
    captured = capsys.readouterr()
    assert_printable(captured.out + captured.err)
    assert "DAYPASS_DEBUG" not in captured.err, "an unexpected error"
    outer = here.parent
    assert list(outer.iterdir()) == [here]
    for file in here.rglob("*"):
        assert_printable(str(file.relative_to(here)))
        if file.is_file():
            assert_printable(file.read_text())


def test_text_output_is_escaped_and_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    write_changes(f"one\n\t{TEXT}\n")
    out = capsys.readouterr().out
    assert_printable(out.replace("\t", ""))
    assert out.startswith("one\n\ta?[2Jb")


def as_json(findings: Findings) -> str:
    return as_text({"domains": findings}, "json")


@pytest.mark.parametrize("form", [findings_text, as_json])
def test_a_verify_report_is_escaped_in_every_format(form: Any) -> None:
    finding = Finding(check="tls", level=Level.FAILURE, fact=TEXT, hint=TEXT)
    assert_printable(form({TEXT: [finding]}))
    if form is as_json:
        assert json.loads(form({"d": [finding]}))["domains"]["d"][0]["fact"] == TEXT
