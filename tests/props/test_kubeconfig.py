"""Any kubeconfig is read, or rejected with a message without its secrets."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import DaypassError
from daypass.kube.cluster import Cluster
from daypass.kube.kubeconfig import find_connection_config

SENTINEL = "SENTINEL4SECRETS"

secret = st.sampled_from(
    [SENTINEL, f"{SENTINEL}\n", f"é{SENTINEL}", f"-----BEGIN {SENTINEL}", f"{SENTINEL}\0"]
)
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
servers = st.sampled_from(["https://a.test", "https://[::1]:1/x", "http://localhost:1", "a:b:c"])
clusters = st.fixed_dictionaries(
    {},
    optional={
        "server": servers | odd,
        "certificate-authority": odd,
        "certificate-authority-data": secret | odd,
        "proxy-url": st.just(f"socks5://u:{SENTINEL}@proxy") | odd,
        "tls-server-name": odd,
        "extensions": odd,
    },
)
plugins = st.fixed_dictionaries(
    {
        "apiVersion": st.just("client.authentication.k8s.io/v1") | odd,
        "command": st.just("/nowhere/plugin"),
    },
    optional={
        "args": st.lists(secret | odd, max_size=2) | odd,
        "env": st.lists(st.fixed_dictionaries({"name": odd, "value": secret}), max_size=2) | odd,
        "installHint": odd,
    },
)
users = st.fixed_dictionaries(
    {},
    optional={
        "token": secret | odd,
        "tokenFile": odd,
        "username": odd,
        "password": secret | odd,
        "client-certificate-data": secret | odd,
        "client-key-data": secret | odd,
        "client-key": odd,
        "exec": plugins | odd,
        "as": odd,
        "as-groups": odd,
    },
)


@given(cluster=clusters | odd, user=users | odd, junk=odd)
def test_fields_of_any_type_are_read_or_rejected_without_secrets(
    cluster: Any, user: Any, junk: Any
) -> None:
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    document = {
        "current-context": "x",
        "contexts": [context, junk] if isinstance(junk, dict) else [context],
        "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": user}],
    }
    check(yaml.safe_dump(document).encode())


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_rejected_without_secrets(content: bytes) -> None:
    check(content)


@given(cut=st.integers(0, 400), insert=st.binary(max_size=3))
def test_a_damaged_file_is_read_or_rejected_without_secrets(cut: int, insert: bytes) -> None:
    whole = json.dumps(
        {
            "current-context": "x",
            "users": [{"name": "x", "user": {"token": SENTINEL, "password": SENTINEL}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": "https://a.test"}}],
        }
    ).encode()
    check(whole[:cut] + insert)
    check(whole[:cut] + insert + whole[cut:])


def check(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"
        file.write_bytes(content)
        try:
            access = find_connection_config({}, kubeconfig=str(file))
            assert SENTINEL not in repr(access)
            Cluster(access).close()
        except DaypassError as error:
            text = repr(error) + str(error)
            assert SENTINEL not in text
