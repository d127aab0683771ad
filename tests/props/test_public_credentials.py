"""A credentials file that others can read is used only if there is no token in it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import UsageError
from daypass.client.credentials_source import read_source
from daypass.client.errors import CredentialsError
from daypass.identity.credential_secrets import parse_source
from support.fake_door import credentials_document, long_lived_token

PLACES = (
    "door", "certificateAuthority", "token", "audience", "namespace", "serviceAccount",
    "secretName", "x",
)  # fmt: skip
holders = st.recursive(
    st.tuples(st.text(max_size=5), st.text(max_size=5)).map(long_lived_token().join),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["file", "variable", "y"]), inner, min_size=1)
    ),
    max_leaves=3,
)
"""JSON with a token in it, at any depth."""


def put(folder: Path, content: bytes) -> str:
    path = folder / "ci.json"
    path.write_bytes(content)
    path.chmod(0o644)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credentials")


@given(st.sampled_from(PLACES), holders, st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_a_token_anywhere_in_it_is_refused(
    folder: Path, place: str, value: object, encoding: str
) -> None:
    document = credentials_document("https://door.example.com", token={"variable": "CI_TOKEN"})
    content = json.dumps({**document, place: value}).encode(encoding)
    # What a file holds takes precedence over its mode: another key is named first.
    with pytest.raises(CredentialsError, match=r"0644|known keys") as refused:
        read_source({}, put(folder, content))
    assert long_lived_token()[40:80] not in str(refused.value)


@given(st.binary(max_size=200))
def test_other_content_is_refused(folder: Path, content: bytes) -> None:
    with pytest.raises(CredentialsError):
        read_source({}, put(folder, content))


sources = st.one_of(
    st.text(),
    st.tuples(
        st.sampled_from(["github:", "file:", "variable:", "exec:", ""]),
        st.text() | st.just("x" * 5000),
    ).map("".join),
)


@given(sources)
def test_the_source_that_an_anchor_is_annotated_with_runs_no_program(source: str) -> None:
    try:
        token = parse_source(source)
    except UsageError:
        return
    assert len(source) <= 4096
    [(kind, value)] = token.items()
    assert kind in ("github", "file", "variable")
    text = value["audience"] if kind == "github" else value
    assert f"{kind}:{text}" == source
    assert text
