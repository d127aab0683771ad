"""The objects of the gate on Istio, as far as they can be checked without Envoy."""

from __future__ import annotations

import base64
import hashlib
import json

from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.envoy.gate_listener import NO_KEYS
from daypass.render.istio.objects import keys_object, revoked_objects
from daypass.render.manifests import gate_objects
from daypass.render.objects import RenderError
from support.messages import raises
from support.rendered import config_of

UIDS = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(20_000)]


def config(more: str = "", issuer: str = "issuer: 'https://issuer.example.com'") -> Config:
    return config_of(f"""\
version: 1
cluster: {{{issuer}}}
domains:
  ekf: {{host: ekf.example.com, front: istio, tls: {{secret: ekf-tls}}}}
gate: {{audience: gate.example.com, image: 'registry.example.com/daypass:1' {more}}}
""")


def test_the_placeholder_key_is_derived_from_a_hash() -> None:
    (key,) = json.loads(NO_KEYS)["keys"]
    digest = hashlib.sha256(b"daypass: nobody's key 0").digest()
    assert key["x"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")


def test_a_gate_needs_the_token_issuer() -> None:
    unknown = config(issuer="")
    with raises(RenderError, match=r"cluster\.issuer"):
        gate_objects(unknown, ClusterFacts())
    assert gate_objects(unknown, ClusterFacts(issuer="https://asked.example.com"))


def test_a_header_with_too_many_dashes_is_rejected() -> None:
    with raises(RenderError, match="a-b-c-d-e-f-g"):
        gate_objects(config(", headers: {user: a-b-c-d-e-f-g}"), ClusterFacts())


def texts(revoked: RevocationSnapshot) -> list[str]:
    objects = revoked_objects(config(), revoked)
    return [json.dumps(each, separators=(",", ":")) for each in objects]


def test_the_revocation_list_has_four_parts_below_the_size_limit() -> None:
    names = [each["metadata"]["name"] for each in revoked_objects(config(), RevocationSnapshot())]
    assert names == [f"daypass-gate-revoked-{number}" for number in range(4)]
    for count in (0, 1, 7000, 7001, 20_000):
        for settled in (0, count):
            parts = texts(RevocationSnapshot(secrets=set(UIDS[:count]), stable=set(UIDS[:settled])))
            assert len(parts) == 4
            assert max(map(len, parts)) < 1.4 * 1024 * 1024  # the API server accepts 1.5


def test_a_recent_entry_changes_only_the_small_first_part() -> None:
    settled = set(UIDS[:10_000])
    before, after = (
        texts(RevocationSnapshot(secrets=set(UIDS[:count]), stable=settled))
        for count in (10_001, 10_002)
    )
    for uid in UIDS[:10_002:97]:
        assert sum(uid in text for text in before) == 1
    assert before[1:] == after[1:]
    assert UIDS[10_001] in after[0]
    assert len(after[0]) < 2000


def test_an_entry_being_compacted_is_in_two_parts() -> None:
    uid = UIDS[0]
    parts = texts(RevocationSnapshot(secrets={uid}, compacting={uid}))
    assert [uid in text for text in parts].count(True) == 2
    assert uid in parts[0]


def test_entries_beyond_the_first_part_go_to_the_others() -> None:
    parts = texts(RevocationSnapshot(secrets=set(UIDS[:8000])))
    assert len(parts[0]) < 1000
    for uid in UIDS[:6000:97]:
        assert sum(uid in text for text in parts[1:]) == 1


def test_published_objects_select_the_gateway_pods() -> None:
    gate = config(", frontNamespace: gateways, frontLabels: {app: edge}")
    for each in (
        keys_object(gate, "https://i", "{}"),
        *revoked_objects(gate, RevocationSnapshot()),
    ):
        assert each["metadata"]["namespace"] == "gateways"
        assert each["spec"]["workloadSelector"]["labels"] == {"app": "edge"}
