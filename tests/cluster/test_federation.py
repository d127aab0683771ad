"""A CI job's own OIDC token at a real API server: what `identity federate` makes, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tools.bootstrap import ROOT

from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes import labels
from daypass._core.secret import Secret
from daypass.client.errors import ExchangeRefusedError
from daypass.config.settings import Federated, Policy
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES, ROLE_BINDINGS, SERVICE_ACCOUNTS
from daypass.render.authentication_config import TrustedIssuer, authentication_configuration
from daypass.render.objects import stream
from daypass.rules.reasons import Reason
from support import identities, policies
from support.admin import Answer
from support.admin_shell import AdminShell
from support.ci_jobs import GitHubJob, oidc_of_the_runner
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import reason_in
from support.issuer import CiSystem, running_issuer
from support.lifecycle import accepts
from support.messages import check, message_with, raises
from support.tokens import Signer
from support.up import Up
from support.up_gate import calling_with, gate_up

GATE = "gate.example.com"
AUDIENCE = "https://ekf.example.com/kubernetes"
MAIN, TAGS = "repo:org/app:ref:refs/heads/main", "repo:org/app:ref:refs/tags/v1"
POLICY = Policy(audiences=(GATE,), federated=Federated(longest_lifetime_seconds=1200))


@pytest.fixture(scope="module")
def issuer() -> Iterator[CiSystem]:
    with running_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def configuration(issuer: CiSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is rendered for two subjects of the issuer."""
    trusted = TrustedIssuer(
        url=issuer.url, audience=AUDIENCE, subjects=(MAIN, TAGS), authority=issuer.authority.pem
    )
    file = tmp_path_factory.mktemp("configuration") / "authentication.yaml"
    file.write_text(stream([authentication_configuration(trusted)]))
    return file


@pytest.fixture(scope="module")
def plane(
    issuer: CiSystem, configuration: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """An API server that has read it, and knows the issuer's keys."""
    folder = tmp_path_factory.mktemp("federation")
    with ControlPlane.start(
        folder, extra_apiserver_args=[f"--authentication-config={configuration}"]
    ) as running:
        eventually("the issuer's keys are known", lambda: _knows(running, issuer), seconds=60)
        yield running


def _knows(plane: ControlPlane, issuer: CiSystem) -> bool:
    return who(plane, issuer.token(MAIN, AUDIENCE)).code == 201


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane, cluster: Cluster) -> Cluster:
    """With POLICY in force."""
    policies.apply(plane, cluster, POLICY)
    return cluster


@pytest.fixture
def door(up: Up) -> Up:
    return up


class Made(NamedTuple):
    """What `identity federate` has made: a namespace, the API server's configuration, a file."""

    namespace: str
    configuration: dict[str, Any]
    credentials: Path

    @property
    def anchor(self) -> str:
        return str(json.loads(self.credentials.read_text())["secretName"])


def federate_main(shell: AdminShell, issuer: CiSystem) -> tuple[str, str]:
    """Federate an identity `ci` for the branch main alone."""
    return shell.run(
        "identity", "federate", "ci", "-n", shell.namespace, "--issuer", issuer.url,
        "--issuer-authority", "issuer.crt", "--subject", MAIN, "--token-audience", AUDIENCE,
        "--source", "variable:CI_TOKEN", "--credentials-out", "ci.json",
        "--audience", GATE, "--lifetime", "10m", *shell.door,
    )  # fmt: skip


@pytest.fixture
def made(cluster: Cluster, issuer: CiSystem, shell: AdminShell) -> Made:
    """An identity `ci` for the branch main alone."""
    namespace = shell.namespace
    (shell.folder / "issuer.crt").write_text(issuer.authority.pem)
    out, err = federate_main(shell, issuer)
    user = f"federated:{issuer.url.removeprefix('https://')}#{MAIN}"
    made = message_with(err, user)
    assert f"{namespace}/ci " in made
    assert "ci.json" in made
    attributes = {
        "namespace": namespace, "verb": "create", "resource": "serviceaccounts",
        "subresource": "token", "name": "ci",
    }  # fmt: skip
    identities.wait_until_allowed(shell.plane.admin, user, attributes)
    return Made(namespace, yaml.safe_load(out), shell.folder / "ci.json")


def who(plane: ControlPlane, token: Secret) -> Answer:
    """Whom the API server takes the bearer for."""
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    return plane.client(token).request("POST", path, {})


def ask(plane: ControlPlane, made: Made, token: Secret, account: str = "ci", **spec: Any) -> Answer:
    bound = {"apiVersion": "v1", "kind": "Secret", "name": made.anchor}
    spec = {"audiences": [GATE], "expirationSeconds": 600, "boundObjectRef": bound, **spec}
    path = identities.token_path(made.namespace, account)
    return plane.client(token).request("POST", path, {"spec": spec})


def test_a_github_job_uses_the_action_at_the_door_until_it_is_revoked(
    issuer: CiSystem, made: Made, shell: AdminShell, tmp_path: Path, wheel: Path
) -> None:
    job = GitHubJob.in_folder(tmp_path)
    credentials = json.loads(made.credentials.read_text())
    credentials["token"] = {"github": {"audience": AUDIENCE}}
    (job.checkout / "ci.json").write_text(json.dumps(credentials))
    with oidc_of_the_runner(issuer, MAIN) as variables:
        job.environment |= variables
        assert job.uses(ROOT, credentials="ci.json", package=str(wheel)) == 0, job.log
        shell.run("identity", "revoke", "ci", "-n", made.namespace, "--yes")
        assert job.run("daypass token --no-cache") == 1
    assert "revoked or rotated: ask your administrator" in job.log
    claims = decode_unverified(Path(job.outputs["token-file"]).read_text().strip())[1]
    assert claims["sub"] == f"system:serviceaccount:{made.namespace}:ci"
    assert claims["aud"] == [GATE]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["kubernetes.io"]["secret"]["name"] == made.anchor


def test_a_revocation_ends_a_federated_identity_until_it_is_federated_again(
    issuer: CiSystem, made: Made, shell: AdminShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_TOKEN", issuer.token(MAIN, AUDIENCE).reveal())
    credentials = shell.credentials("ci.json")
    token = credentials.token().value
    assert accepts(shell.cluster, token, GATE)
    _, err = shell.run("identity", "revoke", "ci", "-n", made.namespace, "--yes")
    assert made.anchor in message_with(err, "revoked identity")
    with raises(ExchangeRefusedError, match=made.anchor) as raised:
        shell.credentials("ci.json").token()
    assert "revoked" in raised.value.hint
    assert "administrator" in raised.value.hint
    eventually(
        "the API server refuses its token",
        lambda: not accepts(shell.cluster, token, GATE),
        seconds=20,
    )
    old = made.anchor
    federate_main(shell, issuer)
    assert made.anchor != old
    again = shell.credentials("ci.json").token().value
    assert accepts(shell.cluster, again, GATE)


def test_where_no_policy_denies_it_a_revoked_job_still_gets_tokens_until_the_deletion(
    issuer: CiSystem, made: Made, shell: AdminShell
) -> None:
    assert shell.run("identity", "revoke", "ci", "-n", made.namespace, "--dry-run", "--yes")
    token = issuer.token(MAIN, AUDIENCE)
    unlabelled = {"metadata": {"labels": {labels.POLICY: None}}}
    shell.cluster.patch(NAMESPACES, made.namespace, unlabelled)

    def unbound() -> int:
        return ask(shell.plane, made, token, boundObjectRef=None).code

    eventually("the policy does not apply", lambda: unbound() == 201)
    _, err = shell.run("identity", "revoke", "ci", "-n", made.namespace, "--yes", code=3)
    end = f"daypass identity delete ci -n {made.namespace}"
    check(message_with(err, end), f"#{MAIN}", reason="warning", hide=r"127\.0\.0\.1:\d+")
    assert unbound() == 201
    shell.run(*end.split()[1:], "--yes")
    eventually("the right is gone", lambda: unbound() == 403)


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_a_revocation_ends_a_job_at_the_gate_on_its_open_connection(
    plane: ControlPlane, issuer: CiSystem, made: Made, shell: AdminShell, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, check: str,
) -> None:  # fmt: skip
    """From the job's own token to a service, with a gate that takes bound tokens only."""
    monkeypatch.setenv("CI_TOKEN", issuer.token(MAIN, AUDIENCE).reveal())
    token = shell.credentials("ci.json").token().value
    shell.run(
        "identity", "create", "neighbour", "-n", made.namespace, *shell.door, "--audience", GATE
    )
    neighbour = shell.credentials("neighbour.json").token().value
    with gate_up(tmp_path, plane, check=check) as up, calling_with(up, token) as job:
        job.becomes(200)
        shell.run("identity", "revoke", "ci", "-n", made.namespace, "--yes")
        assert reason_in(job.becomes(401)) is Reason.UNKNOWN_CREDENTIAL
        assert job.ask(neighbour).code == 200
        federate_main(shell, issuer)
        again = shell.credentials("ci.json").token().value
        eventually("a new token passes", lambda: job.ask(again).code == 200)
        assert job.ask().code == 401


def test_federate_makes_a_marked_identity_credentials_without_a_secret_and_a_configuration(
    cluster: Cluster, up: Up, made: Made
) -> None:
    assert made.credentials.stat().st_mode & 0o777 == 0o600
    assert json.loads(made.credentials.read_text()) == {
        "type": "daypass",
        "version": 1,
        "door": up.door,
        "certificateAuthority": up.authority_file.read_text(),
        "namespace": made.namespace,
        "serviceAccount": "ci",
        "secretName": made.anchor,
        "token": {"variable": "CI_TOKEN"},
        "audience": GATE,
        "lifetimeSeconds": 600,
    }
    (entry,) = made.configuration["jwt"]
    assert entry["issuer"]["audiences"] == [AUDIENCE]
    (rule,) = entry["claimValidationRules"]
    assert rule["expression"] == f'claims.sub in ["{MAIN}"]'
    account = cluster.get(SERVICE_ACCOUNTS, "ci", made.namespace)
    assert account["metadata"]["annotations"][labels.IDENTITY] == f"{made.namespace}/ci"
    binding = cluster.get(ROLE_BINDINGS, "ci-daypass-federated", made.namespace)
    assert [subject["kind"] for subject in binding["subjects"]] == ["User"]
    namespace = cluster.get(NAMESPACES, made.namespace)
    assert namespace["metadata"]["labels"][labels.POLICY] == labels.POLICY_ENFORCED


def test_it_has_a_name_that_is_nobody_elses_and_no_group(
    plane: ControlPlane, issuer: CiSystem
) -> None:
    token = issuer.token(MAIN, AUDIENCE, groups=["system:masters"], name="admin")
    info = who(plane, token).json["status"]["userInfo"]
    assert info["username"] == f"federated:{issuer.url.removeprefix('https://')}#{MAIN}"
    assert info["groups"] == ["system:authenticated"]


def test_no_other_token_comes_in(plane: ControlPlane, issuer: CiSystem) -> None:
    stranger = Signer()
    refused = {
        "another subject": issuer.token("repo:org/app:ref:refs/heads/dev", AUDIENCE),
        "a subject that begins so": issuer.token(f"{MAIN}-2", AUDIENCE),
        "a pull request": issuer.token("repo:org/app:pull_request", AUDIENCE),
        "another audience": issuer.token(MAIN, "https://elsewhere.example"),
        "the API server's audience": issuer.token(MAIN, "https://kubernetes.default.svc"),
        "no audience": issuer.token(MAIN, []),
        "another issuer": issuer.token(MAIN, AUDIENCE, issuer="https://127.0.0.1:1"),
        "the API server as issuer": issuer.token(
            MAIN, AUDIENCE, issuer="https://kubernetes.default.svc"
        ),
        "an expired one": issuer.token(MAIN, AUDIENCE, age_seconds=700),
        "one of the future": issuer.token(MAIN, AUDIENCE, age_seconds=-3600),
        "another's key": issuer.token(MAIN, AUDIENCE, signer=stranger),
        "no subject": issuer.token("", AUDIENCE),
        "two subjects": issuer.token(MAIN, AUDIENCE, sub=[MAIN]),
    }
    codes = {name: who(plane, token).code for name, token in refused.items()}
    assert codes == dict.fromkeys(refused, 401)


def test_it_can_do_nothing_else_and_another_subject_not_even_that(
    plane: ControlPlane, issuer: CiSystem, made: Made
) -> None:
    another_subject = ask(plane, made, issuer.token(TAGS, AUDIENCE))
    assert another_subject.code == 403
    assert "cannot create resource" in another_subject.message
    token = issuer.token(MAIN, AUDIENCE)
    identities.ensure_service_account(plane.admin, made.namespace, "other")
    assert ask(plane, made, token, "other").code == 403
    elsewhere = made._replace(namespace=plane.make_namespace())
    identities.ensure_service_account(plane.admin, elsewhere.namespace, "ci")
    assert ask(plane, elsewhere, token).code == 403
    client = plane.client(token)
    here = f"/api/v1/namespaces/{made.namespace}"
    for method, path in (
        ("GET", f"{here}/serviceaccounts/ci"),
        ("GET", f"{here}/secrets"),
        ("POST", f"{here}/secrets"),
        ("GET", "/api/v1/namespaces"),
        ("DELETE", here),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ):
        assert client.request(method, path, {"metadata": {"name": "x"}}).code == 403
    speaking = {"Impersonate-User": "system:admin"}
    assert client.request("GET", here, headers=speaking).code == 403


def test_its_own_row_of_the_policy_holds(plane: ControlPlane, issuer: CiSystem, made: Made) -> None:
    token = issuer.token(MAIN, AUDIENCE)
    assert ask(plane, made, token, expirationSeconds=1200).code == 201
    longer = ask(plane, made, token, expirationSeconds=1201)
    assert longer.code == 403
    assert "lifetime: " in longer.message
    assert " 1200 s" in longer.message
    assert "audiences: " in ask(plane, made, token, audiences=["x"]).message


CONFIG = """\
version: 1
domains: {ekf: {host: ekf.example.com, front: istio, tls: outside}}
policy: {audiences: [gate.example.com], federated: {longestLifetime: 20m}}
"""


def federate(shell: AdminShell, *words: str, code: int = 0) -> tuple[str, str]:
    """`identity federate` for the door of CONFIG."""
    (shell.folder / "daypass.yaml").write_text(CONFIG)
    return shell.run(
        "identity", "federate", "ci", "-n", shell.namespace, "--config", "daypass.yaml",
        "--issuer", "https://issuer.example", "--subject", MAIN, "--source", "github",
        "--credentials-out", "ci.json", *words, code=code,
    )  # fmt: skip


def test_invalid_federate_options_are_refused_and_create_nothing(shell: AdminShell) -> None:
    other, absent = shell.folder / "other.json", shell.folder / "absent"
    other.write_text('{"precious": true}')
    wrong = (
        (["--lifetime", "21m"], " 1200 seconds", 2),
        (["--subject", "repo:org/*"], " repo:org/* ", 2),
        (["--source", "gitlab"], "'gitlab'", 2),
        (["--credentials-out", str(other)], str(other), 1),
        (["--credentials-out", str(absent / "ci.json")], str(absent), 2),
        (["--credentials-out", "-"], "stdout", 2),
        (["--merge", str(shell.folder / "daypass.yaml")], "AuthenticationConfiguration", 2),
        (["--issuer-authority", str(absent)], str(absent), 2),
    )
    for words, value, code in wrong:
        out, err = federate(shell, *words, code=code)
        assert (out, value in err) == ("", True), err
        check(err, reason="refused")
    assert shell.cluster.find(SERVICE_ACCOUNTS, "ci", shell.namespace) is None
    assert not (shell.folder / "ci.json").exists()
    assert other.read_text() == '{"precious": true}'
