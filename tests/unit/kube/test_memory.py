"""How much memory an answer may cost, whatever the API server sends."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 1024 * 1024
LONGEST_LIST = """
import json, sys
from itertools import chain, cycle, islice

import httpx2

from daypass._core.errors import DaypassError
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.resources import SECRETS

item, size, has_pages = sys.argv[1].encode(), int(sys.argv[2]), sys.argv[3] == "True"


class Body(httpx2.SyncByteStream):
    def __iter__(self):
        yield b'{"metadata": {"resourceVersion": "1"}, "items": [' + item
        yield from islice(cycle([(b"," + item) * 1000]), size // len(item) // 1000)
        yield b"]}"


def answer(request):
    if not has_pages:
        return httpx2.Response(200, stream=Body())
    start, limit = (int(request.url.params.get(name) or 0) for name in ("continue", "limit"))
    metadata = {"continue": str(start + limit)} if (start + limit) * len(item) < size else {}
    return httpx2.Response(200, json={"metadata": metadata, "items": limit * [json.loads(item)]})


def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])


access = ConnectionConfig(server="http://127.0.0.1:1", namespace="x", origin="tests")
cluster = Cluster(access, transport=httpx2.MockTransport(answer))
before = peak()
try:
    length = len(cluster.list(SECRETS))
except DaypassError:
    length = 0
print(json.dumps([length, (peak() - before) * 1024]))
"""
SECRET = (
    '{"metadata":{"name":"bot-daypass-0123456789abcdefghij","namespace":"team","uid":'
    '"5fd5c1b9-1b1c-4f0e-8f7a-2f0d3a0b7c11","resourceVersion":"123456","creationTimestamp":'
    '"2026-11-28T22:00:00Z","labels":{"app.kubernetes.io/managed-by":"daypass"},"annotations":'
    '{"daypass.dev/identity":"team/bot"},"managedFields":[{"manager":"daypass","operation":"Apply",'
    '"fieldsV1":{"f:metadata":{"f:annotations":{"f:daypass.dev/identity":{}},"f:labels":{'
    '"f:app.kubernetes.io/managed-by":{}}}}}],"pad":"' + 600 * "x" + '"}}'
)


def listed(item: str, size: int, *, has_pages: bool) -> tuple[int, int]:
    """Return the length of a list as the client returns it (0: refused), and the memory used."""
    done = subprocess.run(
        [sys.executable, "-c", LONGEST_LIST, item, str(size), str(has_pages)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    length, memory = done.stdout.strip("[]\n").split(",")
    return int(length), int(memory)


def test_the_secrets_of_50_000_identities_are_listed() -> None:
    length, memory = listed(SECRET, 50_000 * len(SECRET), has_pages=True)
    assert length == 50_000
    assert memory < 512 * MIB


@pytest.mark.parametrize("item", ["[]", '{"metadata":{"name":"x","uid":"u"}}'])
@pytest.mark.parametrize("size", [15 * MIB, 512 * MIB], ids=["whole", "endless"])
def test_a_list_of_anything_takes_little_memory(item: str, size: int) -> None:
    length, memory = listed(item, size, has_pages=False)
    assert length == 0
    assert memory < 128 * MIB
