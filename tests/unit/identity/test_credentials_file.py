"""The content of credentials files, and where they may be written."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.errors import DaypassError, UsageError
from daypass._core.kubernetes import labels
from daypass._core.tls import BadCertificateAuthorityError
from daypass.client.config import CredentialsConfig
from daypass.client.credentials_source import read_source
from daypass.client.errors import CredentialsError
from daypass.config import Config, parse
from daypass.identity.accounts import Account
from daypass.identity.credentials_file import CredentialsOptions as Options
from daypass.identity.credentials_file import (
    CredentialsSettings,
    FileInUseError,
    IncompleteCredentialsError,
    check_file,
    resolve_settings,
)
from support.authority import Authority
from support.embedded import EmbeddedCluster
from support.lifecycle import BOT, SETTINGS, make
from support.messages import raises

CONFIG = """
version: 1
prefix: /tokens
domains:
  ekf: {host: ekf.example.com, front: istio, tls: outside}
"""
SECOND = "  serving: {host: serving.example.com, front: istio, tls: outside}\n"


def config(text: str = CONFIG) -> Config:
    return parse(text.encode(), name="daypass.yaml", folder=Path("/nowhere"))


def known(**annotations: str) -> Account:
    merged = {labels.IDENTITY: BOT.key, **annotations}
    return Account(name=BOT, uid="u", is_ours=True, manager="daypass", annotations=merged)


def resolve(
    options: Options, text: str | None, account: Account | None = None
) -> CredentialsSettings:
    spec = None if text is None else config(text)
    return resolve_settings(options, spec, account)[0]


GATE = "gates: {default: {audience: gate}}\n"
POLICY = "policy: {audiences: [one], longestLifetime: 30m}\n"
FEDERATED = "policy: {audiences: [one], federated: {longestLifetime: 20m}}\n"
GATES = """
gates:
  ekf: {audience: to-ekf, hosts: [ekf.example.com]}
  serving: {audience: to-serving, hosts: [serving.example.com], gatewayLabels: {istio: serving}}
"""
TWO = CONFIG + SECOND + GATES
EKF, OTHER = "https://ekf.example.com/tokens", "https://d.example.com/k"


@pytest.mark.parametrize(
    ("options", "text", "door", "audience", "lifetime"),
    [
        (Options(audience="x"), CONFIG, EKF, "x", 3600),
        (Options(), CONFIG + GATE, EKF, "gate", 3600),
        (Options(), CONFIG + POLICY, EKF, "one", 1800),
        (Options(), CONFIG + FEDERATED, EKF, "one", 3600),
        (Options(is_federated=True), CONFIG + FEDERATED, EKF, "one", 1200),
        (Options(domain="serving", audience="x", lifetime_seconds=900), CONFIG + SECOND,
         "https://serving.example.com/tokens", "x", 900),
        (Options(door=OTHER, audience="x"), CONFIG + SECOND, OTHER, "x", 3600),
        (Options(door=f"{OTHER}/", audience="x"), None, OTHER, "x", 3600),
    ],
)  # fmt: skip
def test_the_door_comes_from_options_or_the_config(
    options: Options, text: str | None, door: str, audience: str, lifetime: int
) -> None:
    assert resolve(options, text) == CredentialsSettings(
        door=door, audience=audience, lifetime_seconds=lifetime
    )


@pytest.mark.parametrize(
    ("options", "text", "error", "value"),
    [
        (Options(audience="x"), None, IncompleteCredentialsError, "--door"),
        (Options(), CONFIG, IncompleteCredentialsError, "--audience"),
        (Options(audience="x"), CONFIG + SECOND, UsageError, "--domain: ekf, serving"),
        (Options(door="http://d.example.com/k", audience="x"), None, CredentialsError, "http://"),
        (Options(audience="x", lifetime_seconds=599), CONFIG, UsageError, "599"),
        (Options(lifetime_seconds=86_401), CONFIG + GATE, UsageError, "86401"),
        (Options(lifetime_seconds=1201, is_federated=True), CONFIG + FEDERATED, UsageError, "1201"),
        (Options(audience="x", authority="not PEM"), CONFIG, BadCertificateAuthorityError, "PEM"),
        (Options(door=OTHER), TWO, UsageError, "--gate: ekf, serving"),
        (Options(domain="ekf", gate="servin"), TWO, UsageError, "serving"),
    ],
    ids=["no door", "no audience", "two domains", "http", "too short",
         "too long for a gate", "too long for a job", "authority",
         "two gates", "unknown gate"],
)  # fmt: skip
def test_options_that_give_no_valid_credentials_are_refused(
    options: Options, text: str | None, error: type[DaypassError], value: str
) -> None:
    with raises(error, match=value) as caught:
        resolve(options, text)
    assert type(caught.value) is error


def test_omitted_options_keep_the_values_in_the_annotations() -> None:
    pem = Authority().pem
    before = replace(SETTINGS, lifetime_seconds=900, authority=pem)
    account = known(**before.annotations())
    assert resolve(Options(), None, account) == before
    assert resolve(Options(audience="x"), None, account) == replace(before, audience="x")
    # Another door has another certificate.
    moved = resolve(Options(door="https://new.example.com/k"), None, account)
    assert (moved.door, moved.authority) == ("https://new.example.com/k", None)


@pytest.mark.parametrize(
    ("options", "before", "audience"),
    [
        (Options(domain="ekf"), None, "to-ekf"),
        (Options(domain="serving"), None, "to-serving"),
        (Options(domain="ekf", gate="serving"), None, "to-serving"),
        (Options(door=OTHER, gate="serving"), None, "to-serving"),
        (Options(domain="ekf", audience="x"), None, "x"),
        (Options(door=OTHER), "to-serving", "to-serving"),
        (Options(domain="ekf"), "to-serving", "to-ekf"),
        (Options(gate="ekf"), "to-serving", "to-ekf"),
    ],
)
def test_the_audience_is_that_of_the_gate_that_is_named_or_guards_the_domain(
    options: Options, before: str | None, audience: str
) -> None:
    annotations = {} if before is None else {labels.DOOR: EKF, labels.AUDIENCE: before}
    assert resolve(options, TWO, known(**annotations)).audience == audience


def test_annotations_of_a_foreign_account_are_ignored() -> None:
    account = replace(known(**SETTINGS.annotations()), is_ours=False)
    with raises(IncompleteCredentialsError, match="--door"):
        resolve(Options(), None, account)


def test_the_client_reads_the_credentials_file(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    pem, created = Authority().pem, make(embedded.cluster)
    file = tmp_path / "bot.json"
    file.touch(0o600)
    file.write_bytes(replace(SETTINGS, authority=pem).file_content(created))
    settings = CredentialsConfig(read_source({}, str(file)))
    assert (settings.door.url, settings.audience) == (SETTINGS.door, SETTINGS.audience)
    assert settings.certificate_authority == pem
    assert settings.lifetime_seconds == SETTINGS.lifetime_seconds
    without = json.loads(SETTINGS.file_content(created))
    assert "certificateAuthority" not in without


def test_only_credentials_of_the_same_identity_are_overwritten(
    embedded: EmbeddedCluster, tmp_path: Path
) -> None:
    path, other = tmp_path / "bot.json", replace(BOT, namespace="far")
    now = embedded.clock.unix()
    check_file(str(path), BOT, now_unix=now)
    path.touch(0o600)
    with raises(FileInUseError, match="(?s)bot.json.*team/bot.*--force"):
        check_file(str(path), BOT, now_unix=now)
    path.write_bytes(SETTINGS.file_content(make(embedded.cluster)))
    check_file(str(path), BOT, now_unix=now)
    with raises(FileInUseError, match="(?s)bot.json.*far/bot.*--force"):
        check_file(str(path), other, now_unix=now)
    check_file(str(path), other, now_unix=now, force=True)


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("no/bot.json", "no "),
        ("link.json", "link.json"),
        ("pipe", "pipe"),
        ("/dev/null", "/dev/null"),
    ],
)
def test_force_does_not_replace_anything_but_a_regular_file(
    file: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bot.json").touch(0o600)
    (tmp_path / "link.json").symlink_to("bot.json")
    os.mkfifo("pipe")
    with raises(UsageError, match=re.escape(value)):
        check_file(file, BOT, now_unix=0.0, force=True)
