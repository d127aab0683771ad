"""Lists in pages and watches, in an event loop: what is asked for, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.kubernetes.objects import Object
from daypass.kube import answers
from daypass.kube.answers import PAGE, Selection
from daypass.kube.errors import (
    ApiError,
    BrokenResponseError,
    ClusterUnreachableError,
)
from daypass.kube.resources import NAMESPACES, SECRETS
from daypass.kube.watching import LIMIT_OBJECTS, AsyncCluster
from support.fake_door import answer, status_answer
from support.messages import raises
from support.watched_api import ACCESS, WatchedApi, line
from unit.kube.conftest import Open, watch_async
from unit.kube.test_cluster import endless


def listed(
    api: WatchedApi, limit_objects: int = LIMIT_OBJECTS, **selection: Any
) -> tuple[list[str], str]:
    async def ask() -> tuple[list[str], str]:
        cluster = AsyncCluster(ACCESS, transport=api)
        return await cluster.list(
            Selection(resource=SECRETS, **selection),
            lambda each: str(each["metadata"]["uid"]),
            limit_objects=limit_objects,
        )

    return asyncio.run(ask())


@pytest.fixture
def api() -> WatchedApi:
    made = WatchedApi()
    for number in range(2 * PAGE + 1):
        made.put("secrets", f"s-{number}")
    return made


def test_a_page_that_is_too_large_is_read_in_smaller_ones(
    api: WatchedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who may write large objects must not be able to end all lists."""
    monkeypatch.setattr(answers, "LIMIT_BYTES", 100_000)
    for number in range(700, 703):
        api.objects["secrets", f"s-{number}"]["metadata"]["annotations"] = {"x": "y" * 90_000}
    assert len(set(listed(api)[0])) == 2 * PAGE + 1
    limits = [int(request.url.params["limit"]) for request in api.asked]
    assert limits[:2] == [PAGE, PAGE]
    assert 1 in limits
    assert limits[-1] > 10  # no longer than it has to


def test_a_single_object_that_is_too_large_is_an_error(
    api: WatchedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LIMIT_BYTES", 100)
    with pytest.raises(BrokenResponseError):
        listed(api)
    assert api.asked[-1].url.params["limit"] == "1"


def test_an_endless_list_ends(api: WatchedApi) -> None:
    with raises(BrokenResponseError, match="500"):
        listed(api, limit_objects=PAGE)


def events(*objects: object) -> bytes:
    body = "".join(json.dumps(each) + "\n" for each in objects)
    return answer(200, body)


@pytest.mark.parametrize("as_event", [False, True])
def test_a_watch_from_an_expired_version_is_a_410(opened: Open, as_event: bool) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    expired = events({"type": "ERROR", "object": status})
    cluster, _ = opened(expired if as_event else status_answer(410, "too old"))
    with pytest.raises(ApiError, match="too old") as gone:
        watch_async(cluster, NAMESPACES)
    assert gone.value.status.code == 410


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ty\r\n",
        answer(200, '{"type": "ADDED", "obj'),
    ],
    ids=["chunks", "json"],
)  # fmt: skip
def test_a_broken_watch_is_an_error(opened: Open, broken: bytes) -> None:
    cluster, _ = opened(broken)
    with raises(ClusterUnreachableError, match=r"127\.0\.0\.1:\d+", hide="(?<=reached: ).*"):
        watch_async(cluster, NAMESPACES)


def test_an_endless_watch_event_is_aborted(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LIMIT_BYTES", 2**20)
    cluster, _ = opened(endless("200 OK", bytes(65536)))
    with raises(BrokenResponseError, match=r"127\.0\.0\.1"):
        watch_async(cluster, SECRETS)


def watched(content: bytes | list[bytes]) -> list[tuple[str, Object]]:
    """What a watch makes of a body."""

    class Body(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            for chunk in content if isinstance(content, list) else [content]:
                yield chunk

    def behave(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Body(), request=request)

    async def ask() -> list[tuple[str, Object]]:
        cluster = AsyncCluster(ACCESS, transport=httpx2.MockTransport(behave))
        found = cluster.watch(Selection(resource=SECRETS), "1", timeout_seconds=60)
        return [event async for event in found]

    return asyncio.run(ask())


@given(cut=st.integers(min_value=0, max_value=400))
def test_events_may_be_cut_anywhere_and_contain_any_line_separator(cut: int) -> None:
    """`str.splitlines` would split at U+0085, which annotations may contain."""
    objects = [{"metadata": {"uid": str(number), "x": "\u0085\u2028"}} for number in range(3)]
    content = b"".join(line("ADDED", each) for each in objects)
    assert watched([content[:cut], content[cut:]]) == [("ADDED", each) for each in objects]
