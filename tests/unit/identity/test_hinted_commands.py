"""Each command named in a message is run in the state that produces the message.

A row has the place in the source, a state, the command line that produces the message, and values
for its placeholders. The named command then has to work, against the embedded API server, which
poses as a cluster unless the row is `embedded`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daypass._core import labels
from daypass.cli import main
from daypass.identity.delete import revoke
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES, ROLES, SECRETS, SERVICE_ACCOUNTS
from support import hints
from support.embedded import EmbeddedCluster
from support.lifecycle import BOT, make

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
gate: {audience: gate, engine: envoy, hosts: [ekf.example.com]}
"""
TESTS = Path(__file__).resolve().parents[2]


def nothing(world: EmbeddedCluster) -> None:
    """A cluster with namespaces."""


def an_identity(world: EmbeddedCluster) -> None:
    make(world.cluster)


def an_expired_identity(world: EmbeddedCluster) -> None:
    make(world.cluster, deadline="2020-01-01T00:00:00Z")


def a_revoked_identity(world: EmbeddedCluster) -> None:
    make(world.cluster)
    revoke(world.cluster, BOT)


def an_identity_with_two_tokens(world: EmbeddedCluster) -> None:
    created = make(world.cluster)
    secret = world.cluster.get(SECRETS, created.secret_name, "team")
    kept = {key: secret["metadata"][key] for key in ("labels", "annotations")}
    metadata = {**kept, "name": "bot-daypass-" + "2" * 20, "namespace": "team"}
    world.cluster.create({key: secret[key] for key in ("apiVersion", "kind", "type")}
                         | {"metadata": metadata})  # fmt: skip


def an_identity_without_a_door(world: EmbeddedCluster) -> None:
    make(world.cluster)
    without = {"metadata": {"annotations": {labels.DOOR: None, labels.AUDIENCE: None}}}
    world.cluster.patch(SERVICE_ACCOUNTS, "bot", without, "team")


def an_identity_without_an_account(world: EmbeddedCluster) -> None:
    make(world.cluster)
    world.cluster.delete(SERVICE_ACCOUNTS, "bot", "team")


def an_identity_without_its_role(world: EmbeddedCluster) -> None:
    make(world.cluster)
    world.cluster.delete(ROLES, "bot-daypass-token", "team")


def a_foreign_account(world: EmbeddedCluster) -> None:
    metadata = {"name": "bot", "namespace": "team"}
    world.cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def granted(role: str) -> Callable[[EmbeddedCluster], None]:
    def state(world: EmbeddedCluster) -> None:
        make(world.cluster)
        for name in ("kubeflow-view", "kubeflow-edit", "other"):
            rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
            world.cluster.create({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name}, "rules": [rule],
            })  # fmt: skip
        assert main([*AUTHORIZE, "--in", "far", *shlex.split(role)]) == 0

    return state


def long_lived_token(world: EmbeddedCluster) -> None:
    Path("token").write_text(make(world.cluster).token.reveal())


AUTHORIZE = ("identity", "authorize", "bot", "-n", "team")


@dataclass(frozen=True, kw_only=True)
class Row:
    site: str
    state: Callable[[EmbeddedCluster], None] = nothing
    command: str
    fill: Mapping[str, str] = field(default_factory=dict)
    embedded: bool = False
    config: str = CONFIG

    @property
    def name(self) -> str:
        return f"{self.site} {'embedded' if self.embedded else ''}".strip()


CREATE = "identity create bot -n team"
ROWS = [
    Row(
        site="identity/model.py::identity_not_found: daypass identity list -n _",
        command="identity rotate bot -n team",
    ),
    Row(
        site="identity/model.py::get_identity: daypass identity create _ -n _ --adopt",
        state=a_foreign_account,
        command="identity revoke bot -n team",
    ),
    Row(
        site="identity/model.py::identity_not_found: daypass identity list -n _",
        command="identity delete bot -n team",
    ),
    Row(
        site="identity/model.py::identity_not_found: daypass identity list -n _",
        command="identity show bot -n team",
    ),
    Row(
        site="cli/identity/list.py::run: daypass identity list -A",
        command="identity list -n nope",
    ),
    Row(
        site="identity/create.py::reusable_secret: daypass identity rotate _ -n _",
        state=an_identity_with_two_tokens,
        command=CREATE,
    ),
    Row(
        site="identity/credentials_file.py::of: daypass identity create _ -n _"
        f" --door {hints.STAND_INS['URL']} --audience AUDIENCE",
        state=an_identity_without_a_door,
        command="identity rotate bot -n team -o new.json",
        fill={"URL": "https://ekf.example.com/kubernetes", "AUDIENCE": "gate.example.com"},
    ),
    Row(
        site="identity/rotate.py::_new_and_old: daypass identity create _ -n _ --expires 90d",
        state=an_expired_identity,
        command="identity rotate bot -n team",
    ),
    Row(
        site="identity/rotate.py::_new_and_old: daypass identity create _ -n _",
        state=a_revoked_identity,
        command="identity rotate bot -n team",
    ),
    Row(
        site="identity/health.py::_check_parts: daypass identity delete _ -n _",
        state=an_identity_without_an_account,
        command="identity show bot -n team",
    ),
    Row(
        site="identity/health.py::_check_times: daypass identity reap -n _",
        state=an_expired_identity,
        command="identity show bot -n team",
    ),
    Row(
        site="identity/health.py::_check_tokens: daypass identity create _ -n _",
        state=an_identity_without_its_role,
        command="identity show bot -n team",
    ),
    *(
        Row(
            site="cli/identity/create.py::run: daypass identity create _ -n _ --create-namespace",
            command="identity create bot -n nope --expires 90d -o 'a bot.json'",
            embedded=embedded,
        )
        for embedded in (False, True)
    ),
    Row(
        site="kube/cluster.py::_embedded_hint:"
        " daypass identity create NAME -n _ --create-namespace",
        state=granted("--role view"),
        command="identity authorize bot -n team --in nope --role view",
        fill={"NAME": "other"},
        embedded=True,
    ),
    Row(
        site="cli/identity/create.py::_report: daypass identity reap",
        command=f"{CREATE} --expires 90d",
    ),
    Row(
        site="cli/identity/revoke.py::run: daypass identity delete _ -n _",
        state=a_revoked_identity,
        command="identity revoke bot -n team",
    ),
    Row(
        site="identity/grants.py::_warn_of_other_roles:"
        " daypass identity unauthorize _ -n _ --in _ --role _",
        state=granted("--role edit"),
        command="identity authorize bot -n team --in far --role view",
    ),
    Row(
        site="identity/grants.py::_warn_of_other_roles:"
        " daypass identity unauthorize _ -n _ --in _ --cluster-role _",
        state=granted("--cluster-role other"),
        command="identity authorize bot -n team --in far --role view",
    ),
    *(
        Row(
            site=f"cli/gate/deny.py::run: daypass gate deny {option} _ --undo",
            command=f"gate deny {option} 0b2c8d0e-5d0f",
            config=GATE,
        )
        for option in ("--jti", "--uid")
    ),
    Row(
        site="cli/gate/deny.py::_denial: daypass identity revoke NAME -n NAMESPACE",
        state=long_lived_token,
        command="gate deny --token-file token",
        fill={"NAME": "bot", "NAMESPACE": "team"},
        config=GATE,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_command_named_in_a_message_works_in_that_state(
    row: Row,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named_commands: hints.Recorder,
) -> None:
    world = EmbeddedCluster(version=None if row.embedded else "v1.37.2")
    for namespace in ("team", "far", "default"):
        if world.cluster.find(NAMESPACES, namespace) is None:
            world.make_namespace(namespace)
    monkeypatch.setattr(Cluster, "open", lambda *, namespace=None, **_: world.open(namespace))
    monkeypatch.chdir(tmp_path)
    Path("daypass.yaml").write_text(row.config)
    row.state(world)
    (site,) = (each for each in hints.call_sites() if str(each) == row.site)
    capsys.readouterr()
    named_commands.hints.clear()

    main(shlex.split(row.command))
    said = "".join(capsys.readouterr())
    (named,) = {each for each in named_commands.hints if site.made(each) and each.line in said}
    assert main([row.fill.get(word, word) for word in named.words]) == 0, capsys.readouterr().err

    main(shlex.split(row.command))
    again = "".join(capsys.readouterr())
    assert "kubectl" not in (said + again if row.embedded else "")


LOCAL = "local/test_identity_embedded.py"
REAL = "cluster/test_hints_lead_on.py"
EXCHANGE = f"{REAL}::test_the_exchange_with_kubectl"
ELSEWHERE = {
    f"{LOCAL}::test_commands_named_by_refusals_lead_to_an_accepted_token": (
        "cli/identity/create.py::_report: daypass token",
        "client/error_mapping.py::_forbidden: daypass identity create _ -n _",
        "render/envoy/replies.py::next_step: daypass token --audience _",
        "render/envoy/replies.py::next_step: daypass token --audience _ --no-cache",
    ),
    f"{REAL}::test_labels_of_namespaces": (
        "cli/identity/create.py::_show: kubectl label namespace _ _=_",
        "identity/namespaces.py::enforce_policy: kubectl label namespace _ _=_",
        "identity/namespaces.py::_warn_of_label: kubectl label namespace _ _-",
    ),
    f"{REAL}::test_a_secret_of_another_owner": (
        "cli/identity/revoke.py::run: kubectl delete secret _ -n _",
    ),
    f"{REAL}::test_cluster_roles": (
        "identity/grants.py::_check_risks: kubectl get clusterroles",
    ),
    f"{REAL}::test_the_policy": (
        "identity/namespaces.py::_warn_without_policy: daypass policy apply",
        "identity/health.py::_check_policy: daypass policy apply",
        "identity/policy.py::_refuse_additions: kubectl delete _ _",
        "verification/door_checks.py::judge_policy: daypass policy apply",
    ),
    f"{REAL}::test_a_missing_namespace": ("kube/errors.py::_absent: kubectl create namespace _",),
    f"{REAL}::test_the_authority_of_the_api_server": (
        "local/api_backend.py::upstream_of: kubectl config view --raw",
    ),
}  # fmt: skip
"""Tests that run the named command against a real cluster, or a running `daypass up`."""
EXEMPT = {
    "verification/door_checks.py::_judge_foreign: daypass up": "runs until a signal",
    "verification/door_checks.py::_judge_foreign: daypass apply": (
        "needs a front: tests/cluster/test_apply.py"
    ),
    "verification/door_checks.py::_judge_foreign:"
    " kubectl get ingress,virtualservice,httproute -A": "needs a front",
    "verification/certificate.py::judge_certificate: kubectl describe certificates -A": (
        "cert-manager's"
    ),
    "verification/certificate.py::judge_untrusted: daypass apply": "needs ingress-nginx",
    "verification/verify.py::_check_name: daypass apply": "needs ExternalDNS",
    "cli/gate/watch.py::run: daypass up": "runs until a signal",
    "cli/options.py::_authority_of_this_machine: daypass up": "runs until a signal",
    "cli/identity/publish_revocation.py::publish_ended: kubectl get lease daypass-gate-watch -n _":
        "needs a gate in a cluster that cannot be written to",
    "client/error_mapping.py::_unauthorized: daypass identity federate --help": "help",
    "client/error_mapping.py::_forbidden: daypass identity federate --help": "help",
    "gate/revocation/state_store.py::_damaged: kubectl delete configmap _ -n _": (
        "tests of the record do it"
    ),
    "gate/authorizer/revocation_list_client.py::update: daypass gate watch": "runs until a signal",
    "gate/revocation/published_list.py::read_revocation_list: daypass gate watch":
        "runs until a signal",
    "identity/health.py::_check_gate: daypass identity create _ -n _":
        "needs a gate in a cluster; the same command as of _check_tokens",
    "identity/policy.py::_wait_until_denied:"
    " daypass policy check -n _ --service-account default":
        "no policy lets its own question pass; tests/cluster/test_policy.py runs the command",
    "identity/delete.py::revoke: kubectl get secrets -n _ -o yaml --show-managed-fields":
        "somebody would have to make Secrets all the time",
}  # fmt: skip
PACKAGES = (
    "verification/", "cli/gate/", "cli/identity/", "cli/policy/", "cli/options.py", "cli/up.py",
    "cli/verify.py",
    "client/error_mapping.py", "gate/", "identity/", "kube/", "local/", "render/envoy/",
)  # fmt: skip


def test_every_command_named_in_a_message_is_run_or_exempt() -> None:
    sites = {str(each) for each in hints.call_sites() if each.place.startswith(PACKAGES)}
    sites = {each for each in sites if "credentials_file.py::exchange" not in each}  # see EXCHANGE
    rows = {row.site for row in ROWS}
    assert sites == {*rows, *EXEMPT, *(site for known in ELSEWHERE.values() for site in known)}
    for test in (*ELSEWHERE, EXCHANGE):
        file, _, name = test.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text()
