"""Names, the current Secret, the choice of the door, and the credentials file."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.secret import Secret
from daypass._core.tls import BadCertificateAuthorityError
from daypass.client.config import parse_source, read_source
from daypass.client.errors import CredentialsError
from daypass.config import Config, parse
from daypass.identity.credentials_file import (
    CredentialsOptions,
    CredentialsSettings,
    FileInUseError,
    IncompleteCredentialsError,
    check_file,
    find_domain,
    resolve_settings,
)
from daypass.identity.model import (
    LONGEST_NAME_CHARACTERS,
    Account,
    BadNameError,
    IdentityName,
    new_secret_name,
)
from daypass.identity.tokens import (
    TokenSecret,
    current_secret,
    is_rotation_unfinished,
    live_secrets,
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


@pytest.mark.parametrize(
    "name", ["bot", "a.b-c.1", pytest.param("x" * LONGEST_NAME_CHARACTERS, id="longest")]
)
def test_an_accepted_name_gives_valid_secret_names(name: str) -> None:
    assert IdentityName.parse("team", name).key == f"team/{name}"
    assert len(new_secret_name(name)) <= 253


@pytest.mark.parametrize(
    ("namespace", "name", "value"),
    [
        ("team", "Bot", "'Bot'"),
        ("team", "", "''"),
        ("team", "-bot", "'-bot'"),
        ("team", "bot/x", "'bot/x'"),
        ("team", "bot.", "'bot.'"),
        pytest.param("team", "b\u00f6t", "'b\u00f6t'", id="umlaut"),
        pytest.param("team", "x" * (LONGEST_NAME_CHARACTERS + 1), "225 characters", id="long name"),
        ("te.am", "bot", "'te.am'"),
        ("", "bot", "''"),
        ("T", "bot", "'T'"),
        pytest.param("x" * 64, "bot", f"'{'x' * 64}'", id="long namespace"),
    ],
)
def test_invalid_kubernetes_names_are_refused(namespace: str, name: str, value: str) -> None:
    with raises(BadNameError, match=value):
        IdentityName.parse(namespace, name)


def secret(name: str, created: int = 1, **fields: Any) -> TokenSecret:
    whole: dict[str, Any] = {
        "account": BOT,
        "account_uid": "u",
        "name": name,
        "uid": name,
        "created": f"2026-11-24T16:00:0{created}Z",
        "is_ours": True,
        "replaces": None,
        "retire_after": None,
    }
    return TokenSecret(**{**whole, **fields})


def test_live_secrets_are_managed_not_retired_and_of_this_account() -> None:
    secrets = [
        secret("a"),
        secret("b", is_ours=False),
        secret("c", retire_after="2026-11-24T16:00:00Z"),
        secret("d", account_uid="of an account that is gone"),
        secret("e", account_uid=""),
    ]
    assert [each.name for each in live_secrets(secrets, "u")] == ["a", "e"]


@pytest.mark.parametrize(
    ("secrets", "name", "unfinished"),
    [
        ([secret("a")], "a", False),
        ([secret("a", replaces="gone")], "a", False),
        # One second, one of them random: only the annotation tells which is newer.
        ([secret("a", replaces="b"), secret("b")], "a", True),
        ([secret("b"), secret("a", replaces="b")], "a", True),
        ([secret("a", 2), secret("b", 1)], "a", False),
        ([secret("a", 1, replaces="b"), secret("b", 1, replaces="a")], "b", True),
    ],
    ids=["one", "replaces one that is gone", "a replaces b", "b, a replaces b", "newer", "cycle"],
)
def test_the_current_secret_is_the_one_that_no_other_replaces(
    secrets: list[TokenSecret], name: str, unfinished: bool
) -> None:
    found = current_secret(secrets)
    assert found is not None
    assert (found.name, is_rotation_unfinished(found, secrets)) == (name, unfinished)


def config(text: str = CONFIG) -> Config:
    return parse(text.encode(), name="daypass.yaml", folder=Path("/nowhere"))


def known(**annotations: str) -> Account:
    merged = {labels.IDENTITY: BOT.key, **annotations}
    return Account(name=BOT, uid="u", is_ours=True, manager="daypass", annotations=merged)


def completed(
    order: CredentialsOptions, text: str | None, account: Account | None = None
) -> CredentialsSettings:
    spec = None if text is None else config(text)
    domain = None if spec is None else find_domain(order, spec, account)
    return resolve_settings(order, spec, domain, account)


GATE = "gate: {audience: gate}\n"
POLICY = "policy: {audiences: [one], longestLifetime: 30m}\n"


@pytest.mark.parametrize(
    ("order", "text", "door", "audience", "lifetime"),
    [
        (CredentialsOptions(audience="x"), CONFIG, "https://ekf.example.com/tokens", "x", 3600),
        (CredentialsOptions(), CONFIG + GATE, "https://ekf.example.com/tokens", "gate", 3600),
        (CredentialsOptions(), CONFIG + POLICY, "https://ekf.example.com/tokens", "one", 1800),
        (
            CredentialsOptions(domain="serving", audience="x", lifetime_seconds=900),
            CONFIG + SECOND,
            "https://serving.example.com/tokens",
            "x",
            900,
        ),
        (
            CredentialsOptions(door="https://d.example.com/k", audience="x"),
            CONFIG + SECOND,
            "https://d.example.com/k",
            "x",
            3600,
        ),
        (
            CredentialsOptions(door="https://d.example.com/k/", audience="x"),
            None,
            "https://d.example.com/k",
            "x",
            3600,
        ),
    ],
)
def test_the_door_comes_from_options_or_the_config(
    order: CredentialsOptions, text: str | None, door: str, audience: str, lifetime: int
) -> None:
    assert completed(order, text) == CredentialsSettings(
        door=door, audience=audience, lifetime_seconds=lifetime
    )


@pytest.mark.parametrize(
    ("local", "host", "door"),
    [
        ("127.0.0.1:9443", "localhost", "https://localhost:9443/kubernetes"),
        ("127.0.0.1:443", "localhost", "https://localhost/kubernetes"),
        ("'[::1]:9443'", "'::1'", "https://[::1]:9443/kubernetes"),
    ],
)
def test_a_local_door_has_the_host_and_port_it_listens_on(local: str, host: str, door: str) -> None:
    text = f"version: 1\ndomains: {{x: {{host: {host}, front: envoy}}}}\nlocal: {{door: {local}}}\n"
    assert completed(CredentialsOptions(audience="x"), text).door == door


@pytest.mark.parametrize(
    ("order", "text", "error", "value"),
    [
        pytest.param(
            CredentialsOptions(audience="x"),
            None,
            IncompleteCredentialsError,
            "--door",
            id="no door",
        ),
        pytest.param(
            CredentialsOptions(), CONFIG, IncompleteCredentialsError, "--audience", id="no audience"
        ),
        pytest.param(
            CredentialsOptions(audience="x"),
            CONFIG + SECOND,
            UsageError,
            "--domain: ekf, serving",
            id="two domains",
        ),
        pytest.param(
            CredentialsOptions(domain="nope"), CONFIG, UsageError, "'nope'", id="unknown domain"
        ),
        pytest.param(
            CredentialsOptions(door="http://d.example.com/k", audience="x"),
            None,
            CredentialsError,
            "http://",
            id="http",
        ),
        pytest.param(
            CredentialsOptions(audience="x", lifetime_seconds=599),
            CONFIG,
            UsageError,
            "599",
            id="too short",
        ),
        pytest.param(
            CredentialsOptions(audience="one", lifetime_seconds=1801),
            CONFIG + POLICY,
            UsageError,
            "1801",
            id="too long",
        ),
        pytest.param(
            CredentialsOptions(audience="x", authority="not PEM"),
            CONFIG,
            BadCertificateAuthorityError,
            "PEM",
            id="authority",
        ),
        pytest.param(
            CredentialsOptions(audience="two words "),
            CONFIG,
            CredentialsError,
            "audience",
            id="audience",
        ),
    ],
)
def test_options_that_give_no_valid_credentials_are_refused(
    order: CredentialsOptions, text: str | None, error: type[DaypassError], value: str
) -> None:
    with raises(error, match=value) as caught:
        completed(order, text)
    assert type(caught.value) is error


def test_omitted_options_keep_the_values_in_the_annotations() -> None:
    pem = Authority().pem
    before = replace(SETTINGS, lifetime_seconds=900, authority=pem)
    account = known(**before.annotations())
    assert completed(CredentialsOptions(), None, account) == before
    assert completed(CredentialsOptions(audience="x"), None, account) == replace(
        before, audience="x"
    )
    # Another door has another certificate.
    moved = completed(CredentialsOptions(door="https://new.example.com/k"), None, account)
    assert (moved.door, moved.authority) == ("https://new.example.com/k", None)


def test_the_domain_in_the_annotations_is_chosen_among_several() -> None:
    account = known(**{labels.DOOR: "https://serving.example.com/tokens"})
    found = completed(CredentialsOptions(audience="x"), CONFIG + SECOND, account)
    assert found.door == "https://serving.example.com/tokens"


def test_annotations_of_a_foreign_account_are_ignored() -> None:
    account = replace(known(**SETTINGS.annotations()), is_ours=False)
    with raises(IncompleteCredentialsError, match="--door"):
        completed(CredentialsOptions(), None, account)


def test_the_client_reads_the_credentials_file(world: EmbeddedCluster, tmp_path: Path) -> None:
    pem, token = Authority().pem, make(world.cluster).token
    file = tmp_path / "bot.json"
    file.touch(0o600)
    file.write_bytes(replace(SETTINGS, authority=pem).file_content(token))
    settings = parse_source(read_source({}, str(file)), world.clock.unix())
    assert (settings.door.url, settings.audience) == (SETTINGS.door, SETTINGS.audience)
    assert settings.certificate_authority == pem
    assert settings.lifetime_seconds == SETTINGS.lifetime_seconds
    without = json.loads(SETTINGS.file_content(Secret("x")))
    assert "certificateAuthority" not in without


def test_only_credentials_of_the_same_identity_are_overwritten(
    world: EmbeddedCluster, tmp_path: Path
) -> None:
    path, other = tmp_path / "bot.json", replace(BOT, namespace="far")
    now = world.clock.unix()
    check_file(str(path), BOT, now_unix=now)
    path.touch(0o600)
    with raises(FileInUseError, match="(?s)bot.json.*team/bot.*--force"):
        check_file(str(path), BOT, now_unix=now)
    path.write_bytes(SETTINGS.file_content(make(world.cluster).token))
    check_file(str(path), BOT, now_unix=now)
    with raises(FileInUseError, match="(?s)bot.json.*far/bot.*--force"):
        check_file(str(path), other, now_unix=now)
    check_file(str(path), other, now_unix=now, force=True)


@pytest.mark.parametrize(
    ("file", "value"),
    [
        (".", "./bot.json"),
        ("no/bot.json", "no "),
        ("link.json", "link.json"),
        ("pipe", "pipe"),
        ("/dev/null", "/dev/null"),
        ("yaml", "-o ./yaml"),
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
