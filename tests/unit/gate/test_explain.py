"""`daypass gate explain` and `deny` without a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli import main
from daypass.gate.deny import change_denial
from daypass.gate.explain import (
    ISSUER_NOT_CHECKED,
    Explanation,
    ModelFacts,
    explain,
)
from daypass.gate.signing_keys import is_signed
from daypass.identity.credential_secrets import FilledSecret
from daypass.identity.delete import revoke
from daypass.kube.cluster import Cluster
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import (
    UNKNOWN_CREDENTIAL,
    UNKNOWN_MODELS,
)
from daypass.rules.models import Access
from daypass.rules.published import Denial, DeniedKind
from support.embedded import EmbeddedCluster
from support.lifecycle import BOT, make
from support.messages import check
from support.programs import output_of
from support.rendered import config_of
from support.tokens import ISSUER, Signer, encode, good_claims
from unit.gate.stand_in_gates import StandInGate

SIGNER = Signer("ours")
CONFIG = f"""
version: 1
cluster: {{issuer: "{ISSUER}"}}
domains: {{x: {{host: ekf.example.com, front: envoy}}}}
policy: {{audiences: [gate], longestLifetime: 2h}}
gates: {{default: {{audience: gate, engine: envoy, hosts: [ekf.example.com]}}}}
"""
Run = Callable[..., tuple[int, str, str]]


def token(**changes: Any) -> str:
    claims: dict[str, Any] = {"aud": ["gate"], **changes}
    return SIGNER.sign(good_claims(**claims))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(value: str, *arguments: str, config: str = CONFIG) -> tuple[int, str, str]:
        (tmp_path / "daypass.yaml").write_text(config)
        (tmp_path / "token").write_text(value + "\n")
        (tmp_path / "keys").write_text(SIGNER.jwks)
        paths = {"KEYS": str(tmp_path / "keys"), "TOKEN": str(tmp_path / "token")}
        code = main([
            "gate", *(paths.get(each, each) for each in arguments),
            "--config", str(tmp_path / "daypass.yaml"),
        ])  # fmt: skip
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


SECONDS = r"\d+(?= more seconds)"
EXPLAIN = ("explain", "--token-file", "TOKEN", "--host", "ekf.example.com")


def test_a_valid_token_is_allowed_and_skipped_checks_are_listed(run: Run) -> None:
    code, out, _ = run(token(), *EXPLAIN)
    assert code == 0
    assert out.splitlines()[9] == "10  system:serviceaccount:team:bot"
    assert "allowed" not in out  # as long as nobody knows who signed it
    check(out, reason="allowed", hide=SECONDS)
    explained = json.loads(run(token(), *EXPLAIN, "--output", "json")[1])
    assert (explained["allowed"], len(explained["notChecked"])) == (True, 2)


def test_with_keys_the_signature_is_verified(run: Run) -> None:
    code, out, _ = run(token(), *EXPLAIN, "--keys", "KEYS", "--output", "json")
    assert (code, json.loads(out)["notChecked"]) == (0, [UNKNOWN_CREDENTIAL])
    assert "allowed" not in run(token(), *EXPLAIN, "--keys", "KEYS")[1]  # it may be revoked
    forged = token()[:-8] + "AAAAAAAA"
    code, out, _ = run(forged, *EXPLAIN, "--keys", "KEYS", "--output", "json")
    explained = json.loads(out)
    assert (code, explained["reason"], len(explained["steps"])) == (3, "signature", 6)
    assert explained["notChecked"] == [UNKNOWN_CREDENTIAL]
    code, out, _ = run(forged, *EXPLAIN, "--keys", "KEYS")
    assert (code, " 7  refused (401): " in out) == (3, True)
    check(out, reason="signature")


@pytest.mark.parametrize(
    ("changes", "reason", "number"),
    [
        ({"iss": "kubernetes/serviceaccount"}, "long-lived", 4),
        ({"aud": ["other"]}, "audience", 7),
        ({"aud": ["gate", "another"]}, "several-audiences", 7),
        ({"aud": ["\x1b[2J" * 99]}, "audience", 7),
        ({"iss": "https://other"}, "foreign-issuer", 4),
        ({"exp": 1}, "expired", 8),
        ({"kubernetes.io": {"namespace": "team"}}, "unbound", 11),
    ],
)
def test_a_refusal_has_its_step_and_reason(
    run: Run, changes: dict[str, Any], reason: str, number: int
) -> None:
    code, out, err = run(token(**changes), *EXPLAIN, "--output", "json")
    explained = json.loads(out)
    assert (code, explained["reason"], len(explained["steps"])) == (3, reason, number)
    assert explained["allowed"] is False
    check(explained["message"], reason=reason)
    assert err == ""


def test_an_unguarded_host_is_reported(run: Run) -> None:
    code, out, _ = run(token(), "explain", "--token-file", "TOKEN", "--host", "x.example.com")
    assert (code, "refused (404): " in out) == (3, True)
    check(out, reason="not-guarded")


@pytest.mark.parametrize("junk", ["", "x", "a.b.c", "Bearer x", "\u00fc", "x" * 70_000])
def test_an_invalid_token_is_refused_and_never_printed(run: Run, junk: str) -> None:
    code, out, err = run(junk, *EXPLAIN)
    assert code in (2, 3)
    assert not junk or len(junk) < 3 or junk not in out + err


@pytest.mark.parametrize(
    ("changes", "code", "reason", "number"),
    [
        ({}, 0, "unknown", 15),
        ({"aud": ["other"]}, 3, "audience", 7),
        ({"iss": "kubernetes/serviceaccount"}, 3, "long-lived", 4),
        ({"iss": None}, 3, "foreign-issuer", 4),
    ],
    ids=["good", "audience", "long-lived", "no issuer"],
)
def test_without_the_issuer_every_other_step_is_checked(
    run: Run, changes: dict[str, Any], code: int, reason: str, number: int
) -> None:
    config = CONFIG.replace(f'cluster: {{issuer: "{ISSUER}"}}\n', "")
    ended, out, err = run(token(**changes), *EXPLAIN, "--output", "json", config=config)
    explained = json.loads(out)
    assert (ended, explained["reason"], len(explained["steps"])) == (code, reason, number), err
    assert ISSUER_NOT_CHECKED in explained["notChecked"]
    check(run(token(**changes), *EXPLAIN, config=config)[1], reason=reason, hide=SECONDS)


@pytest.mark.parametrize(
    ("value", "arguments", "offending"),
    [
        (token(exp=1), ["--token-file", "TOKEN"], "1970-01-01T00:00:"),
        (SIGNER.sign({"iss": "kubernetes/serviceaccount"}), ["--token-file", "TOKEN"],
         "short-lived"),
        ("x", ["--uid", "u", "--until", "tomorrow"], "'tomorrow'"),
        ("x", ["--uid", "u", "--until", "2001-01-01T00:00:00Z"], "2001-01-01T00:00:00Z"),
    ],
    ids=["expired token", "long-lived token", "no time", "past"],
)  # fmt: skip
def test_an_invalid_denial_is_a_usage_error(
    run: Run, value: str, arguments: list[str], offending: str
) -> None:
    code, _, err = run(value, "deny", *arguments)
    assert (code, offending in err) == (2, True), err
    check(err, reason="usage")


def test_an_elliptic_curve_signature_is_verified() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    public = {"kty": "EC", "crv": "P-256", "kid": "e", "x": encode(numbers.x.to_bytes(32)),
              "y": encode(numbers.y.to_bytes(32))}  # fmt: skip
    body = ".".join(encode(part) for part in (b'{"alg":"ES256","kid":"e"}', b"{}"))
    r, s = decode_dss_signature(key.sign(body.encode(), ec.ECDSA(SHA256())))
    signature = r.to_bytes(32) + s.to_bytes(32)
    keys = json.dumps({"keys": [public, {"kty": "RSA"}]})
    assert is_signed(f"{body}.{encode(signature)}", keys)
    assert not is_signed(f"{body}.{encode(signature[:-1] + bytes([signature[-1] ^ 1]))}", keys)
    assert not is_signed(f"{body}.{encode(signature[:-1])}", keys)


IN_A_CLUSTER = CONFIG.replace("front: envoy", "front: istio, tls: outside, gateway: a/b").replace(
    "engine: envoy, hosts: [ekf.example.com]", "check: jwt"
)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> EmbeddedCluster:
    """A cluster with the token's Secret, at the time of the tests."""
    embedded = EmbeddedCluster()
    embedded.clock.now_unix = SYSTEM_CLOCK.unix()
    embedded.make_namespace("team")
    monkeypatch.setattr(Cluster, "open", embedded.open)
    return embedded


def bound_to(created: FilledSecret, aud: str = "gate", **changes: Any) -> str:
    """A token that is bound to the Secret of an identity."""
    secret = {"name": created.secret.name, "uid": created.secret.uid, **changes}
    account = {"name": "bot", "uid": created.secret.account_uid}
    claim = {"namespace": "team", "secret": secret, "serviceaccount": account}
    return token(aud=aud, **{"kubernetes.io": claim})


Explained = Callable[[str], dict[str, Any]]


@pytest.fixture
def explained(run: Run, embedded: EmbeddedCluster) -> Explained:
    """Explain a token to the holder of an administrator's kubeconfig."""
    gate = StandInGate(embedded=embedded, delay_seconds=0)

    def explain_token(value: str) -> dict[str, Any]:
        gate.publish()
        options = ("--keys", "KEYS", "--kubeconfig", "admin", "--output", "json")
        _, out, err = run(value, *EXPLAIN, *options, config=IN_A_CLUSTER)
        assert err == ""
        document: dict[str, Any] = json.loads(out)
        return document

    return explain_token


def test_a_credential_that_exists_passes_until_it_is_deleted(
    embedded: EmbeddedCluster, explained: Explained
) -> None:
    value = bound_to(make(embedded.cluster))
    assert explained(value)["notChecked"] == []
    assert explained(value)["allowed"] is True
    revoke(embedded.cluster, BOT)
    found = explained(value)
    assert (found["reason"], "Secret team/bot-daypass-" in found["message"]) == (
        "unknown-credential", True,
    )  # fmt: skip
    check(found["message"], reason=found["reason"])


@pytest.mark.parametrize("kind", DeniedKind)
def test_what_an_administrator_has_denied_is_explained(
    embedded: EmbeddedCluster, explained: Explained, kind: DeniedKind
) -> None:
    created = make(embedded.cluster)
    value, uid = bound_to(created), created.secret.account_uid
    name = {"jti": "j-1", "uid": uid, "namespace": "team"}[kind]
    denial = Denial(kind=kind, name=name, until_unix=embedded.clock.unix() + 60)
    change_denial(embedded.cluster, "daypass", denial, undo=False)
    assert explained(value)["reason"] == "denied"


def test_a_gate_without_a_current_part_gives_503(run: Run, embedded: EmbeddedCluster) -> None:
    value = bound_to(make(embedded.cluster))
    options = ("--keys", "KEYS", "--kubeconfig", "admin")
    code, out, _ = run(value, *EXPLAIN, *options, config=IN_A_CLUSTER)
    assert (code, "refused (503)" in out, "daypass gate watch" in out) == (3, True, True)
    check(out.splitlines()[-1], reason="unknown")


INFERENCE = "inferenceservices.serving.kserve.io"
MODELS = f"""
version: 1
cluster: {{issuer: "{ISSUER}"}}
domains:
  x: {{host: ekf.example.com, front: istio, tls: outside, gateway: a/b}}
policy: {{audiences: [gate, models], longestLifetime: 2h}}
gates:
  ekf: {{audience: gate, hosts: [ekf.example.com]}}
  models:
    audience: models
    check: review
    gatewayLabels: {{istio: models}}
    hosts: ['{{name}}-{{namespace}}.example.com', api.example.com]
    authorize:
    - {{host: '{{name}}-{{namespace}}.example.com', resource: {INFERENCE}}}
    - {{host: api.example.com, path: '/serving/{{namespace}}/{{name}}/', resource: {INFERENCE}}}
"""
A_MODEL = ("explain", "--token-file", "TOKEN", "--keys", "KEYS", "--output", "json", "--host")


def test_a_gate_is_named_where_no_or_another_one_has_the_host(run: Run) -> None:
    code, _, err = run(token(), *A_MODEL, "other.org", config=MODELS)
    assert (code, "ekf, models" in err) == (2, True)
    check(err, reason="usage")
    for name, reason in (("ekf", "not-guarded"), ("models", "audience")):
        _, out, _ = run(token(), *A_MODEL, "iris-alice.example.com", "--gate", name, config=MODELS)
        assert (json.loads(out)["gate"], json.loads(out)["reason"]) == (name, reason)


def test_without_a_cluster_the_model_is_not_checked(run: Run) -> None:
    value = token(aud=["models"])
    code, out, _ = run(value, *A_MODEL, "iris-alice.example.com", config=MODELS)
    assert (code, UNKNOWN_MODELS in json.loads(out)["notChecked"]) == (0, True)
    for path, needs_model in (("/x", False), ("/serving/alice/iris/", True)):
        _, out, _ = run(value, *A_MODEL, "api.example.com", "--path", path, config=MODELS)
        assert (UNKNOWN_MODELS in json.loads(out)["notChecked"]) is needs_model


@pytest.mark.parametrize(
    ("answer", "reason"), [(True, "allowed"), (False, "model"), (None, "unknown")]
)
def test_the_model_is_checked_as_far_as_the_user_may(answer: bool | None, reason: str) -> None:
    explained = explained_model("iris-predictor-alice.example.com", answer)
    assert explained.decision.reason == reason
    assert explained.passes is (answer is not False)
    of_access = [what for what in explained.not_checked if "alice/iris" in what]
    assert len(of_access) == (answer is None)
    check(explained.message, reason=reason)


def test_a_model_that_does_not_exist_is_named() -> None:
    explained = explained_model("setosa-alice.example.com")
    assert (explained.passes, "alice/setosa" in explained.message) == (False, True)
    check(explained.message, reason="model")
    none = explained_model("api.example.com", path="/serving/")
    assert not none.passes
    check(none.message, reason="model")


class OneModel(ModelFacts):
    """IRIS exists alone. `answer`: whether the caller may use it."""

    def __init__(self, answer: bool | None) -> None:
        self.answers = {}
        self.answer = answer
        self.names_in = lambda resource, namespace: {"iris"} if namespace == "alice" else set()

    def _asked(self, caller: CallerIdentity, access: Access) -> bool | None:
        return self.answer


def explained_model(host: str, answer: bool | None = True, path: str = "/v1") -> Explanation:
    config = config_of(MODELS)
    rules = config.rules_of(config.gates["models"], ISSUER)
    value, now = token(aud=["models"]), SYSTEM_CLOCK.unix()
    return explain(value, host, path, rules, now, SIGNER.jwks, models=OneModel(answer))


def test_it_needs_no_library_of_a_gate() -> None:
    code = "import daypass.cli.gate.explain, sys; print({'httptools', 'uvloop'} & {*sys.modules})"
    assert output_of(sys.executable, "-c", code).strip() == "set()"
