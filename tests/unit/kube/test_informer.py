"""A list kept current by a watch, whatever breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import ForbiddenError
from daypass.kube.informer import ObjectMirror
from daypass.kube.resources import NAMESPACES, Object
from support.fake_door import Behaviour, FakeDoor, Signer, answer, reset, status_answer

# The fake serves one request a connection: a client that kept it would meet its end by chance.
CLOSE = "Connection: close"


def thing(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


def listed(version: int, *things: Object) -> bytes:
    body = {"metadata": {"resourceVersion": str(version)}, "items": list(things)}
    return answer(200, json.dumps(body), CLOSE)


def happened(*events: tuple[str, Object]) -> bytes:
    lines = (json.dumps({"type": kind, "object": document}) for kind, document in events)
    return answer(200, "".join(f"{line}\n" for line in lines), CLOSE)


@contextmanager
def mirror(
    signer: Signer, *script: bytes | Behaviour
) -> Iterator[tuple[ObjectMirror, FakeDoor, list[float]]]:
    sleeps: list[float] = []
    with ExitStack() as stack:
        server = stack.enter_context(FakeDoor(*script, context=signer.context("127.0.0.1")))
        access = ConnectionConfig(
            server=f"https://127.0.0.1:{server.port}", namespace="x", origin="tests",
            authority=signer.pem,
        )  # fmt: skip
        cluster = Cluster(access, sleep=sleeps.append)
        stack.callback(cluster.close)
        yield ObjectMirror(cluster, NAMESPACES), server, sleeps


def names(mirror: ObjectMirror) -> list[str]:
    return sorted(each["metadata"]["name"] for each in mirror.objects())


def test_a_mirror_holds_the_list_and_then_each_change(signer: Signer) -> None:
    events = happened(
        ("ADDED", thing("b", 11)), ("BOOKMARK", thing("", 12)), ("DELETED", thing("a", 13))
    )
    with mirror(signer, listed(10, thing("a", 5)), events) as (mirrored, server, _):
        turns = mirrored.follow()
        seen = []
        for _ in range(3):
            next(turns)
            seen.append(names(mirrored))
    assert seen == [["a"], ["a", "b"], ["b"]]
    assert b"resourceVersion=10" in server.requests[1]


def test_a_watch_resumes_from_the_last_event_or_bookmark(signer: Signer) -> None:
    first = happened(("ADDED", thing("b", 11)), ("BOOKMARK", thing("", 20)))
    with mirror(signer, listed(10), first, happened(("ADDED", thing("c", 21)))) as (m, server, _):
        turns = m.follow()
        for _ in range(3):
            next(turns)
        assert names(m) == ["b", "c"]
    assert b"resourceVersion=20" in server.requests[2]


@pytest.mark.parametrize(
    ("broken", "pauses"),
    [
        (status_answer(410, "too old", CLOSE), []),
        (happened(("ERROR", {"kind": "Status", "code": 410, "message": "too old"})), []),
        (status_answer(500, "broken", CLOSE), [0.5]),
        (reset, [0.5]),
    ],
)
def test_a_broken_watch_lists_again_and_drops_deleted_objects(
    signer: Signer, broken: bytes | Behaviour, pauses: list[float]
) -> None:
    script: list[bytes | Behaviour] = [listed(10, thing("a", 5)), broken]
    if broken is reset:
        script.append(reset)
    with mirror(signer, *script, listed(30, thing("z", 25))) as (mirrored, _, sleeps):
        turns = mirrored.follow()
        next(turns)
        next(turns)
        assert (names(mirrored), sleeps) == (["z"], pauses)


def test_a_missing_permission_ends_the_watch(signer: Signer) -> None:
    with (
        mirror(signer, status_answer(403, "no", reason="Forbidden")) as (mirrored, _, _),
        pytest.raises(ForbiddenError),
    ):
        next(mirrored.follow())


def test_requests_to_an_unavailable_api_server_back_off(signer: Signer) -> None:
    down: list[bytes | Behaviour] = [status_answer(500, "no", CLOSE)] * 8
    with mirror(signer, *down, listed(1)) as (mirrored, _, sleeps):
        next(mirrored.follow())
    assert sleeps == [0.5, 1, 2, 4, 8, 16, 30, 30]
