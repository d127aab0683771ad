"""The ExecCredential for client-go, and its expiry."""

from __future__ import annotations

import json

import pytest

from daypass.client.token import CachedToken
from daypass.integrations.kubectl import VERSIONS, exec_credential, requested_version
from support.fake_door import short_lived_token
from support.timing import NOON


def entry(*, age: int = 0, fresh: int = 2400, usable: int = 3590) -> CachedToken:
    return CachedToken(
        value=short_lived_token(),
        expires_at="2027-01-15T09:00:00Z",
        audiences='["gate"]',
        received_unix=int(NOON) - age,
        received_monotonic=1000 - age,
        fresh_seconds=fresh,
        usable_seconds=usable,
    )


def info(version: str, spec: str = '{"interactive":false}') -> str:
    """What client-go writes, down to its spaces."""
    return f'{{"kind":"ExecCredential","apiVersion":"{version}","spec":{spec}}}\n'


@pytest.mark.parametrize("version", VERSIONS)
def test_the_version_that_is_asked_for_is_the_one_that_is_answered(version: str) -> None:
    assert requested_version(info(version)) == version
    document = json.loads(exec_credential(version, entry(), NOON))
    assert document == {
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": {"expirationTimestamp": "2027-01-15T08:40:00Z", "token": short_lived_token()},
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_json_by_another_client_is_read_too(version: str) -> None:
    assert requested_version(json.dumps(json.loads(info(version)), indent=1)) == version
    cluster = '{"interactive":true,"cluster":{"server":"https://x","config":{"apiVersion":"x"}}}'
    assert requested_version(info(version, cluster)) == version


def test_an_api_version_inside_the_cluster_is_ignored() -> None:
    spec = f'{{"cluster":{{"config":{info(VERSIONS[0]).strip()}}}}}'
    assert requested_version(info(VERSIONS[1], spec)) == VERSIONS[1]


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"apiVersion": "client.authentication.k8s.io/v2"}']
)
def test_the_default_version_is_v1(text: str) -> None:
    assert requested_version(text) == "client.authentication.k8s.io/v1"


def test_the_reported_expiry_is_when_the_cache_replaces_the_token() -> None:
    """client-go runs the plugin again only after it, and is then to be given another token."""
    document = json.loads(exec_credential(VERSIONS[0], entry(age=100), NOON))
    assert document["status"]["expirationTimestamp"] == "2027-01-15T08:38:20Z"


@pytest.mark.parametrize(
    ("age", "ends"), [(3000, "2027-01-15T08:00:30Z"), (3580, "2027-01-15T08:00:10Z")]
)
def test_an_overdue_token_is_cached_for_half_a_minute_at_most(age: int, ends: str) -> None:
    """The door is down: client-go must neither run the plugin for each request nor keep on."""
    document = json.loads(exec_credential(VERSIONS[0], entry(age=age), NOON))
    assert document["status"]["expirationTimestamp"] == ends
