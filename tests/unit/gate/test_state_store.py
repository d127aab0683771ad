"""The controller's state in ConfigMaps and the published objects, with several writers."""

from __future__ import annotations

import base64
import gzip
import json
import random
import uuid
from typing import Any

from daypass.gate.revocation.publishers import ClusterPublisher
from daypass.gate.revocation.revocation_list import ObjectKind, RevocationList
from daypass.gate.revocation.state_store import RecordError, StateStore
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.labels import RECORD_NUMBER
from daypass.gate.signing_keys import SigningKeys
from daypass.kube.resources import Object
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_KNOWN
from support.messages import raises
from support.objects_api import ObjectsApi

VALUES = st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.just(1))
NOW = 1_800_000_000.0
PATH = f"/api/v1/namespaces/daypass/configmaps/{GATE_KNOWN}"


def uids(count: int, seed: int = 1) -> list[str]:
    source = random.Random(seed)  # noqa: S311 - no secret
    return [str(uuid.UUID(int=source.getrandbits(128), version=4)) for _ in range(count)]


def refused(*names: str) -> dict[str, Any]:
    denials = RevocationList(3600)
    for name in names:
        denials.gone(ObjectKind.SECRET, name, "team", NOW)
    return denials.record()


def test_written_state_is_read_again() -> None:
    api = ObjectsApi()
    record = StateStore(api.cluster(), "daypass")
    assert record.read().number == 0
    written = record.write(record.read(), refused("s-1"), {"closed": False})
    read = StateStore(api.cluster(), "daypass").read()
    assert (read.published, read.version) == ({"closed": False}, written.version)
    assert read.number == written.number > 0
    assert list(read.refused["gone"]) == ["s-1"]
    assert "known" not in read.refused


def test_twenty_thousand_known_and_as_many_refused_fit() -> None:
    api = ObjectsApi()
    record = StateStore(api.cluster(), "daypass")
    known: dict[str, Any] = {
        kind: dict.fromkeys(uids(20_000, seed), "namespace-of-a-team")
        for seed, kind in enumerate(ObjectKind)
    }
    record.read_known()
    record.write_known(known)
    record.write(record.read(), refused(*uids(20_000, 4)), {})
    for found in api.objects.values():
        (packed,) = found["binaryData"].values()
        assert len(base64.b64decode(packed)) < 900_000, "the API server accepts 1 MiB"
    assert StateStore(api.cluster(), "daypass").read_known() == known


def test_one_more_known_uid_changes_one_config_map() -> None:
    api = ObjectsApi()
    record = StateStore(api.cluster(), "daypass")
    record.read_known()
    known: dict[str, Any] = {kind: {} for kind in ObjectKind}
    known[ObjectKind.SECRET] = dict.fromkeys(uids(100), "team")
    record.write_known(known)
    api.written.clear()
    known[ObjectKind.SECRET]["c0ffee00-0000-4000-8000-000000000000"] = "team"
    record.write_known(known)
    assert api.written == [f"{GATE_KNOWN}-c"]


def store_of(packed: str, number: str) -> StateStore:
    """A store whose ConfigMap has this content."""
    api = ObjectsApi()
    metadata = {"name": GATE_KNOWN, "namespace": "daypass", "resourceVersion": "1"}
    content = {"data": {"number": number}, "binaryData": {"content.json.gz": packed}}
    api.objects[PATH] = {"metadata": metadata, **content}
    return StateStore(api.cluster(), "daypass")


@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda content: base64.b64encode(content).decode()),
        st.dictionaries(
            st.sampled_from(["refused", "format", "x"]),
            st.one_of(VALUES, st.lists(VALUES), st.dictionaries(st.text(), VALUES)),
        ).map(lambda value: base64.b64encode(gzip.compress(json.dumps(value).encode())).decode()),
    ),
    st.one_of(st.just("1"), st.text()),
)
def test_any_content_is_read_or_rejected(packed: str, number: str) -> None:
    try:
        read = store_of(packed, number).read()
    except RecordError:
        return
    assert read.number >= 0


def test_a_decompression_bomb_is_rejected() -> None:
    bomb = base64.b64encode(gzip.compress(b"[" + b" " * 100_000_000 + b"]")).decode()
    with raises(RecordError, match=GATE_KNOWN):
        store_of(bomb, "1").read()


def keys_of_parts(keys: SigningKeys) -> list[Object]:
    return [_object("keys", keys.issuer + keys.key_set)]


def parts(revoked: RevocationSnapshot) -> list[Object]:
    """A list in two objects: odd UIDs in the second, if there are more than three."""
    names = sorted(revoked.secrets)
    odd = [name for name in names if len(names) > 3 and name[-1] in "13579"]
    return [_object("one", [n for n in names if n not in odd]), _object("two", odd)]


def _object(name: str, content: object) -> Object:
    metadata = {"name": name, "namespace": "front"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "content": content}


def in_force(api: ObjectsApi, name: str) -> Any:
    return api.objects[f"/api/v1/namespaces/front/configmaps/{name}"]["content"]


def publisher_of_parts(api: ObjectsApi) -> ClusterPublisher:
    return ClusterPublisher(api.cluster(), parts, keys_of_parts, for_authorizers=None)


def publish(publisher: ClusterPublisher, *names: str, number: int) -> None:
    publisher.publish(RevocationSnapshot(secrets=set(names)), heard_unix=NOW, number=number)


def test_an_entry_that_moves_is_always_in_an_object() -> None:
    api = ObjectsApi()
    publisher = publisher_of_parts(api)
    publish(publisher, "s-1", "s-2", "s-3", number=1)
    for names, order in (
        (("s-1", "s-2", "s-3", "s-4"), ["two", "one"]),
        (("s-1", "s-2", "s-3"), ["one", "two"]),
    ):
        api.written.clear()
        publish(publisher, *names, number=2)
        assert api.written == order


def test_an_older_list_does_not_overwrite_a_newer_one() -> None:
    api = ObjectsApi()
    slow, quick = (publisher_of_parts(api) for _ in range(2))
    publish(slow, "s-2", number=1)
    api.meanwhile.append(lambda: publish(quick, "s-2", "s-4", "s-6", number=3))
    publish(slow, "s-2", "s-4", number=2)
    assert in_force(api, "one") == ["s-2", "s-4", "s-6"]
    one = api.objects["/api/v1/namespaces/front/configmaps/one"]
    assert one["metadata"]["annotations"][RECORD_NUMBER] == "3"
    publish(slow, "s-2", "s-4", "s-6", "s-8", number=4)
    assert in_force(api, "one") == ["s-2", "s-4", "s-6", "s-8"]


def test_foreign_changes_are_reverted() -> None:
    api = ObjectsApi()
    publisher = publisher_of_parts(api)
    publish(publisher, "s-2", number=1)
    assert publisher.restore() == []
    path = "/api/v1/namespaces/front/configmaps/one"
    api.objects[path] = {**api.objects[path], "content": []}
    api.objects[path]["metadata"] = {**api.objects[path]["metadata"], "resourceVersion": "x"}
    del api.objects["/api/v1/namespaces/front/configmaps/two"]
    assert sorted(publisher.restore()) == ["one", "two"]
    assert (in_force(api, "one"), in_force(api, "two")) == (["s-2"], [])


def test_authorizers_get_a_heartbeat() -> None:
    api = ObjectsApi()
    publisher = ClusterPublisher(
        api.cluster(), lambda _: [], lambda *_: [], for_authorizers="daypass"
    )
    publisher.publish_heartbeat(NOW)
    assert not api.objects
    publish(publisher, "s-2", number=1)
    publisher.publish_heartbeat(NOW + 10)
    (found,) = api.objects.values()
    assert found["data"]["heardAt"] == "2027-01-15T08:00:10Z"
    api.objects.clear()
    publisher.publish_heartbeat(NOW + 20)
    (found,) = api.objects.values()
    assert found["data"]["heardAt"] == "2027-01-15T08:00:20Z"
