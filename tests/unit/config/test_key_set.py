"""The file of `cluster.keys`, as anybody may have written it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.config.key_set import LIMIT_BYTES, KeySetError, key_ids, key_set, read_key_set
from daypass.gate.signing_keys import is_signed
from support.messages import raises
from support.tokens import Signer

SIGNER = Signer("ours")
JWKS = SIGNER.jwks
(PUBLIC,) = json.loads(JWKS)["keys"]


def test_nothing_of_a_private_or_symmetric_key_is_in_a_key_set() -> None:
    keys = [{**PUBLIC, "d": "secret", "p": "secret"}, {"kty": "oct", "k": "secret", "kid": "s"}]
    found = key_set(json.dumps({"keys": keys}))
    assert "secret" not in found
    assert key_ids(found) == ["ours"]


@pytest.mark.parametrize("alg", ["none", "HS256", "x"])
def test_a_key_of_an_algorithm_that_no_api_server_uses_hides_no_other(alg: str) -> None:
    found = key_set(json.dumps({"keys": [{**PUBLIC, "alg": alg, "kid": "odd"}, PUBLIC]}))
    assert key_ids(found) == ["ours"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(body=st.binary(max_size=200) | st.builds(lambda k: json.dumps({"keys": k}).encode(), values))
def test_arbitrary_content_is_a_key_set_or_refused(body: bytes) -> None:
    try:
        found = key_set(body)
    except KeySetError:
        return
    assert key_set(found) == found
    with suppress(KeySetError):
        assert not is_signed(SIGNER.sign({}), found)


@pytest.mark.parametrize(
    "content",
    [
        b"[]", b"[" * 30_000, b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b"-----BEGIN PUBLIC KEY-----", JWKS.encode() + b" " * LIMIT_BYTES,
    ],
    ids=["[]", "deep", "none", "oct", "PEM", "large"],
)  # fmt: skip
def test_a_file_without_public_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(content)
    with raises(KeySetError, hide=str(tmp_path)) as error:
        read_key_set(file)
    assert str(file) in str(error.value)
    assert "c2VjcmV0" not in str(error.value)
