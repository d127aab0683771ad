"""The ConfigMap with the revocation list, and any other content in it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.revocation.published_list import (
    LIMIT_BYTES,
    PublishedRevocations,
    RevocationListError,
    heartbeat,
    read_revocation_list,
    revocation_config_map,
)
from daypass.render.envoy.filters import RevocationSnapshot

names = st.frozensets(st.text("abcdef0123456789-", min_size=1, max_size=40), max_size=5)
revoked = st.builds(
    RevocationSnapshot,
    secrets=names,
    service_accounts=names,
    tokens=names,
    namespaces=names,
    issued_after_unix=st.integers(0, 2**40),
    closed=st.booleans(),
)
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@given(revoked=revoked, heard=st.integers(0, 2**32))
def test_a_published_list_is_read_back(revoked: RevocationSnapshot, heard: int) -> None:
    listed = PublishedRevocations(revoked=revoked, heard_unix=heard)
    assert read_revocation_list(revocation_config_map(listed, "daypass")) == listed


def test_the_same_list_gives_the_same_bytes() -> None:
    one, other = (
        revocation_config_map(
            PublishedRevocations(revoked=RevocationSnapshot(secrets=names), heard_unix=0), "daypass"
        )
        for names in ({"a", "b", "c"}, {"c", "b", "a"})
    )
    assert one == other


def test_a_full_list_fits_into_a_config_map() -> None:
    uids = {f"{number * 2654435761 % 2**128:032x}-abcd" for number in range(20_000)}
    whole = revocation_config_map(
        PublishedRevocations(revoked=RevocationSnapshot(secrets=uids), heard_unix=0), "daypass"
    )
    assert len(json.dumps(whole)) < 1024 * 1024


def packed(document: Any) -> dict[str, Any]:
    text = base64.b64encode(gzip.compress(json.dumps(document).encode())).decode()
    return {**heartbeat(0), "binaryData": {"revoked.json.gz": text}}


@given(document=junk)
def test_any_other_content_is_rejected(document: Any) -> None:
    for config_map in (document, packed(document), {"data": document}, {"binaryData": document}):
        if isinstance(config_map, dict):
            with pytest.raises(RevocationListError):
                read_revocation_list(config_map)


@given(key=st.sampled_from(["secrets", "closed", "issuedAfter", "format"]), value=junk)
def test_an_invalid_field_is_rejected_or_closes_the_gate(key: str, value: Any) -> None:
    good = {"format": 1, "secrets": [], "serviceAccounts": [], "tokens": [], "namespaces": [],
            "issuedAfter": 0, "closed": True}  # fmt: skip
    try:
        listed = read_revocation_list(packed({**good, key: value}))
    except RevocationListError:
        return
    assert listed.revoked.closed or key == "closed"


def test_a_decompression_bomb_is_rejected() -> None:
    bomb = base64.b64encode(gzip.compress(b" " * (LIMIT_BYTES + 1))).decode()
    with pytest.raises(RevocationListError):
        read_revocation_list({**heartbeat(0), "binaryData": {"revoked.json.gz": bomb}})
