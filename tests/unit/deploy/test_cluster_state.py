"""What a cluster lacks before an apply, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from daypass._core.kubernetes.status import Status
from daypass.config.key_set import KeySetError
from daypass.deploy.cluster_state import ClusterState
from daypass.kube.errors import NotFoundError
from support.messages import raises
from support.rendered import config_of
from support.tokens import Signer

CONFIG = """
version: 1
cluster: {issuer: "https://kubernetes.default.svc"}
domains: {a: {host: a.example.com, front: FRONT, tls: {secret: a-tls}}}
policy: {audiences: [gate]}
"""
GATE = """\
gates: {default: {audience: gate, check: review, engine: istio}}
gatePods: {image: 'r.example.com/daypass:1'}
"""


def test_without_keys_for_the_gate_an_apply_says_what_to_give(tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NotFoundError(Status({"code": 404}), "cannot read the signing keys: not found")

    cluster: Any = SimpleNamespace(request=fail)
    state = ClusterState(cluster=cluster, namespaces={}, inventories=())
    text = CONFIG.replace("FRONT", "istio")
    state.require_keys(config_of(text))
    with raises(KeySetError) as error:
        state.require_keys(config_of(text + GATE))
    assert "cluster.keys" in error.value.hint
    (tmp_path / "keys.json").write_text(Signer().jwks)
    named = text.replace("cluster: {", f"cluster: {{keys: {tmp_path}/keys.json, ")
    state.require_keys(config_of(named + GATE))
