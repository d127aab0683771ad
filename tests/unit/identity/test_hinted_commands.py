"""Each command named in a message is run in the state that produces the message.

The API server is the embedded one, as if it had admission policies.
Commands that need a real one are in `tests/cluster/test_hints_lead_on.py`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daypass._core.kubernetes import labels
from daypass.cli import main
from daypass.identity.delete import revoke
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES, ROLES, SECRETS, SERVICE_ACCOUNTS
from support import hints
from support.embedded import EmbeddedCluster
from support.lifecycle import BOT, foreign_account, make
from support.messages import check

CONFIG = """
version: 1
domains: {ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}}
policy: {audiences: [gate.example.com]}
"""
GATE = """
version: 1
cluster: {issuer: "https://kubernetes.default.svc"}
domains: {x: {host: ekf.example.com, front: envoy}}
policy: {audiences: [gate]}
gates: {default: {audience: gate, engine: envoy, hosts: [ekf.example.com]}}
"""


def an_expired_identity(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster, deadline="2020-01-01T00:00:00Z")


def a_revoked_identity(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster)
    revoke(embedded.cluster, BOT)


def an_identity_with_two_tokens(embedded: EmbeddedCluster) -> None:
    created = make(embedded.cluster)
    secret = embedded.cluster.get(SECRETS, created.secret.name, "team")
    kept = {key: secret["metadata"][key] for key in ("labels", "annotations")}
    metadata = {**kept, "name": "bot-daypass-" + "2" * 20, "namespace": "team"}
    embedded.cluster.create({key: secret[key] for key in ("apiVersion", "kind", "type")}
                         | {"metadata": metadata})  # fmt: skip


def an_identity_without_a_door(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster)
    without = {"metadata": {"annotations": {labels.DOOR: None, labels.AUDIENCE: None}}}
    embedded.cluster.patch(SERVICE_ACCOUNTS, "bot", without, "team")


def an_identity_without_an_account(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster)
    embedded.cluster.delete(SERVICE_ACCOUNTS, "bot", "team")


def an_identity_without_its_role(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster)
    embedded.cluster.delete(ROLES, "bot-daypass-token", "team")


def granted(role: str) -> Callable[[EmbeddedCluster], None]:
    def state(embedded: EmbeddedCluster) -> None:
        make(embedded.cluster)
        for name in ("kubeflow-view", "kubeflow-edit", "other"):
            rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
            embedded.cluster.create({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name}, "rules": [rule],
            })  # fmt: skip
        assert main([*AUTHORIZE, "--in", "far", *shlex.split(role)]) == 0

    return state


AUTHORIZE = ("identity", "authorize", "bot", "-n", "team")


@dataclass(frozen=True)
class Row:
    """A command line, the beginning of the one that its message names, and the state before.

    `fill`: values for placeholders of the named command.
    """

    command: str
    named: str
    state: Callable[[EmbeddedCluster], object] = lambda _: None
    fill: Mapping[str, str] = field(default_factory=dict)
    config: str = CONFIG


CREATE = "identity create bot -n team"
IN_NOPE = "identity create bot -n nope --expires 90d --credentials-out 'a bot.json'"
FEDERATE_IN_NOPE = (
    "identity federate ci -n nope --issuer https://issuer.example.com --subject job"
    " --source github --credentials-out 'a ci.json'"
)
AT_DOOR = {"URL": "https://ekf.example.com/kubernetes", "AUDIENCE": "gate.example.com"}
ROWS = [
    Row("identity rotate bot -n team", "identity list -A"),
    Row("identity revoke bot -n team", f"{CREATE} --adopt", lambda it: foreign_account(it.cluster)),
    Row(CREATE, "identity rotate bot -n team", an_identity_with_two_tokens),
    Row("identity rotate bot -n team --credentials-out new.json", f"{CREATE} --door",
        an_identity_without_a_door, fill=AT_DOOR),
    Row("identity rotate bot -n team", f"{CREATE} --expires 90d", an_expired_identity),
    Row("identity rotate bot -n team", CREATE, a_revoked_identity),
    Row("identity show bot -n team", "identity delete bot -n team", an_identity_without_an_account),
    Row("identity show bot -n team", CREATE, an_identity_without_its_role),
    Row(IN_NOPE, "identity create --create-namespace bot -n nope --expires 90d"),
    Row(FEDERATE_IN_NOPE, "identity federate --create-namespace ci -n nope --issuer"),
    Row("identity delete bot -n team", "identity delete --yes bot -n team",
        lambda it: make(it.cluster)),
    Row("identity revoke bot -n team", "identity delete bot -n team", a_revoked_identity),
    Row("identity authorize bot -n team --in far --role view",
        "identity unauthorize bot -n team --in far --role edit", granted("--role edit")),
    Row("gate deny --jti 0b2c8d0e-5d0f --config daypass.yaml --context c",
        "gate deny --jti 0b2c8d0e-5d0f --undo --config daypass.yaml --context c", config=GATE),
]  # fmt: skip


def prepared_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedCluster:
    """The cluster that commands in `folder` use from now on."""
    embedded = EmbeddedCluster(has_policies=True)
    for namespace in ("team", "far", "default"):
        if embedded.cluster.find(NAMESPACES, namespace) is None:
            embedded.make_namespace(namespace)
    monkeypatch.setattr(Cluster, "open", embedded.open)
    monkeypatch.chdir(folder)
    return embedded


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.command}: {row.named}")
def test_a_command_named_in_a_message_works_in_that_state(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], named_commands: hints.Recorder,
) -> None:  # fmt: skip
    embedded = prepared_cluster(tmp_path, monkeypatch)
    Path("daypass.yaml").write_text(row.config)
    row.state(embedded)
    capsys.readouterr()
    named_commands.hints.clear()

    main(shlex.split(row.command))
    said = "".join(capsys.readouterr())
    named = named_commands.named(f"daypass {row.named}", said)
    confirmed = ("--yes",) if named.words[:2] == ("identity", "delete") else ()
    words = [row.fill.get(word, word) for word in (*named.words, *confirmed)]
    code = 3 if named.words[1] == "revoke" else 0  # there is no policy
    assert main(words) == code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "annotations", "rule"),
    [
        ("--audience other", {}, "audiences"),
        ("--audience other", {labels.POLICY_AUDIENCES: "other"}, ""),
        ("", {labels.POLICY_LONGEST_LIFETIME: "30m"}, "lifetime"),
        ("", {labels.POLICY_LONGEST_LIFETIME: "soon"}, "overrides"),
    ],
)
@pytest.mark.parametrize(
    "command", [CREATE, FEDERATE_IN_NOPE.replace("nope", "team").replace("ci ", "bot ", 1)]
)
def test_an_identity_whose_tokens_the_policy_refuses_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, options: str, annotations: dict[str, str], rule: str,
) -> None:  # fmt: skip
    embedded = prepared_cluster(tmp_path, monkeypatch)
    free = "federated: {longestLifetime: 24h}"
    Path("daypass.yaml").write_text(CONFIG.replace("]}\n", f"], {free}}}\n"))
    embedded.cluster.patch(NAMESPACES, "team", {"metadata": {"annotations": annotations}})
    assert main(shlex.split(f"{command} {options}")) == (2 if rule else 0)
    if rule:
        check(capsys.readouterr().err, "team/bot", f"rule {rule}", reason="usage")
    assert (embedded.cluster.find(SERVICE_ACCOUNTS, "bot", "team") is None) == bool(rule)


def test_without_a_terminal_a_deletion_needs_yes_and_a_revocation_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded = prepared_cluster(tmp_path, monkeypatch)
    secret = make(embedded.cluster).secret.name
    capsys.readouterr()
    assert main(shlex.split("identity delete bot -n team --kubeconfig 'an admin.kubeconfig'")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    check(err, "--kubeconfig 'an admin.kubeconfig'", reason="usage")
    assert embedded.cluster.find(SECRETS, secret, "team") is not None
    assert main(shlex.split("identity delete bot -n team -o json")) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["hint"].endswith("daypass identity delete --yes bot -n team -o json")
    assert main(shlex.split("identity delete bot -n team --dry-run")) == 0
    assert main(shlex.split("identity revoke bot -n team")) == 3  # there is no policy
    assert embedded.cluster.find(SECRETS, secret, "team") is None
    assert main(shlex.split("identity delete bot -n team --yes")) == 0
    assert embedded.cluster.find(SERVICE_ACCOUNTS, "bot", "team") is None
