"""Issuer and keys, as an API server returns them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from daypass.gate.signing_keys import KeySetError, find_issuer, issuer_of, keys_of
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import BrokenResponseError
from support.authority import ANY_AUTHORITY


def cluster(document: dict[str, Any]) -> Cluster:
    """An API server that returns this to everything."""
    return Cluster(
        ConnectionConfig(
            server="https://cluster.example", namespace="default", origin="tests",
            authority=ANY_AUTHORITY,
        ),
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=document)),
    )  # fmt: skip


def test_the_issuer_is_the_one_that_the_api_server_names() -> None:
    named = cluster({"issuer": "https://kubernetes.default.svc"})
    assert find_issuer(named) == issuer_of(named) == "https://kubernetes.default.svc"


@pytest.mark.parametrize("document", [{}, {"issuer": None}, {"issuer": 1}, {"issuer": ""}])
def test_an_api_server_may_name_no_issuer(document: dict[str, Any]) -> None:
    nameless = cluster(document)
    assert find_issuer(nameless) is None
    with pytest.raises(BrokenResponseError):
        issuer_of(nameless)


@pytest.mark.parametrize("document", [{}, {"keys": 1}, {"keys": []}, {"keys": [{"kty": "oct"}]}])
def test_a_response_without_public_keys_is_no_key_set(document: dict[str, Any]) -> None:
    with pytest.raises(KeySetError):
        keys_of(cluster(document))
