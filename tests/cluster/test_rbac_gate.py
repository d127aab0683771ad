"""The gate's programs work with the rights that are rendered, and report each missing rule."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.restricted_users import kubeconfig_with
from daypass.cli import main
from daypass.config import parse
from daypass.render.rbac import authorizer_rbac, namespace_rights, watcher_rbac
from support.admin import Document
from support.controlplane import ControlPlane
from support.crds import install_istio, install_kserve
from support.deadline import eventually
from support.serving import gate_serve
from support.watching import identity_namespace

CONFIG = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside, gateway: istio-system/ingress}}
gates:
  default:
    audience: gate
    check: review
    hosts: ['{name}.{namespace}.a.example.com', a.example.com]
    authorize:
    - {host: '{name}.{namespace}.a.example.com', resource: inferenceservices.serving.kserve.io}
    - host: a.example.com
      path: /{namespace}/{name}/
      resource: llminferenceservices.serving.kserve.io
watch: {credentialsPerNamespace: 1}
gatePods: {image: 'example.com/daypass:0.1.0'}
"""
HOME, TEAM = "daypass", "TEAM"
PARSED = parse(CONFIG.encode(), name="daypass.yaml", folder=Path())
REVIEWS = {
    "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]
}  # fmt: skip
"""What the authorizer uses of the ClusterRole system:auth-delegator."""
Grant = tuple[str, list[Document]]


def granted(objects: list[Document]) -> list[Grant]:
    """The rules of Roles and ClusterRoles, and where each is in force."""
    return [
        (each["metadata"].get("namespace", ""), each["rules"])
        for each in objects
        if each["kind"] in ("Role", "ClusterRole")
    ]


def omissions(grants: list[Grant]) -> list[tuple[int, int] | None]:
    """Nothing, and each rule of each role, by their numbers."""
    return [None, *((n, m) for n, (_, rules) in enumerate(grants) for m in range(len(rules)))]


def without(grants: list[Grant], omitted: tuple[int, int] | None) -> list[Grant]:
    return [
        (place, [rule for m, rule in enumerate(rules) if (n, m) != omitted])
        for n, (place, rules) in enumerate(grants)
    ]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ControlPlane, str]]:
    """A control plane with a namespace of more identities than the gate takes."""
    with ControlPlane.start(tmp_path_factory.mktemp("rbac")) as plane:
        install_istio(plane)
        install_kserve(plane)
        for name in (HOME, "istio-system"):
            plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        namespace = identity_namespace(plane)
        plane.make_identity(namespace, "one")
        plane.make_identity(namespace, "other")
        yield plane, namespace


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daypass.yaml").write_text(CONFIG)
    return tmp_path


WATCH = granted([
    *watcher_rbac(PARSED), *namespace_rights(TEAM, HOME)
])  # fmt: skip
SERVE: list[Grant] = [*granted(authorizer_rbac(PARSED)), ("", [REVIEWS])]


@pytest.mark.parametrize("omitted", omissions(WATCH), ids=str)
def test_the_watch_publishes_with_its_rules_and_reports_a_missing_one(
    watched: tuple[ControlPlane, str],
    folder: Path,
    omitted: tuple[int, int] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plane, namespace = watched
    grants = [(place.replace(TEAM, namespace), rules) for place, rules in without(WATCH, omitted)]
    file = kubeconfig_with(plane, folder, grants)
    code = main(["gate", "watch", "--once", "--kubeconfig", str(file)])
    said = "".join(capsys.readouterr())
    assert ("needs this rule" in said) is (omitted is not None), said
    place, _ = ("", {}) if omitted is None else _rule_at(*omitted)
    if omitted is None:
        assert code == 0, said
    elif place != TEAM:
        assert code == 1, said
    else:
        assert code == 3, said
        assert f"tokens of these namespaces are refused: {namespace}" in said


def _rule_at(role: int, number: int) -> tuple[str, Document]:
    place, rules = WATCH[role]
    return place, rules[number]


@pytest.mark.parametrize("omitted", omissions(SERVE), ids=str)
def test_the_authorizer_is_ready_with_its_rules_and_reports_a_missing_one(
    watched: tuple[ControlPlane, str], folder: Path, omitted: tuple[int, int] | None
) -> None:
    plane, _ = watched
    file = kubeconfig_with(plane, folder, without(SERVE, omitted))
    watch = kubeconfig_with(plane, folder, without(WATCH[:-1], None))
    assert main(["gate", "watch", "--once", "--kubeconfig", str(watch)]) in (0, 3)  # a list
    with gate_serve(folder, "--listen", "unix:a.sock", "--kubeconfig", str(file)) as served:
        if omitted is None:
            url = f"http://{served.status}/readyz"
            eventually("it is ready", lambda: urllib.request.urlopen(url, timeout=20).status == 200)
        else:
            log = served.child.log
            reported = re.compile("needs this rule|may not create TokenReviews")
            eventually("it is reported", lambda: reported.search(log.read_text()))
