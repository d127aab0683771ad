"""What the gate on Istio is rendered to, where no Envoy has to be asked."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from daypass.render.envoy.revocation import Revoked
from daypass.render.errors import RenderError
from daypass.render.facts import KubernetesFacts
from daypass.render.gate import gate_objects
from daypass.render.istio.authentication import NO_KEYS
from daypass.render.istio.published import keys_object, revoked_objects
from daypass.spec import Config
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


def test_the_key_that_stands_for_none_is_nobodys() -> None:
    (key,) = json.loads(NO_KEYS)["keys"]
    digest = hashlib.sha256(b"daypass: nobody's key 0").digest()
    assert key["x"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")


def test_a_gate_needs_to_know_who_issues_tokens() -> None:
    unknown = config(issuer="")
    with pytest.raises(RenderError, match="who issues"):
        gate_objects(unknown, KubernetesFacts())
    assert gate_objects(unknown, KubernetesFacts(issuer="https://asked.example.com"))


def test_a_header_of_too_many_spellings_is_refused() -> None:
    with pytest.raises(RenderError, match="dashes"):
        gate_objects(config(", headers: {user: a-b-c-d-e-f-g}"), KubernetesFacts())


def sizes(revoked: Revoked) -> list[int]:
    objects = revoked_objects(config(), revoked)
    return [len(json.dumps(each, separators=(",", ":"))) for each in objects]


def test_there_are_always_as_many_parts_and_none_is_too_large() -> None:
    names = [each["metadata"]["name"] for each in revoked_objects(config(), Revoked())]
    assert names == [f"daypass-gate-revoked-{number}" for number in range(4)]
    for count in (0, 1, 500, 501, 20_000):
        found = sizes(Revoked(secrets=set(UIDS[:count])))
        assert len(found) == 4
        assert max(found) < 1024 * 1024


def test_every_entry_is_in_one_part_and_a_new_one_changes_one() -> None:
    before, after = (
        [json.dumps(o) for o in revoked_objects(config(), Revoked(secrets=set(UIDS[:count])))]
        for count in (10_000, 10_001)
    )
    for uid in UIDS[:10_000:97]:
        assert sum(uid in text for text in before) == 1
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_few_entries_are_in_the_first_part() -> None:
    first, *rest = sizes(Revoked(secrets=set(UIDS[:400]), tokens={"jti"}))
    assert first > 50_000
    assert max(rest) < 1000


def test_what_is_published_names_the_gateways_pods() -> None:
    gate = config(", frontNamespace: gateways, frontLabels: {app: edge}")
    for each in (keys_object(gate, "https://i", "{}"), *revoked_objects(gate, Revoked())):
        assert each["metadata"]["namespace"] == "gateways"
        assert each["spec"]["workloadSelector"]["labels"] == {"app": "edge"}
