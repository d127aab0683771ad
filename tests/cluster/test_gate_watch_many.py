"""Thousands of real Secrets are deleted while the API server goes and comes back."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from daypass._core.kubernetes.objects import uid_of
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import OF_DAYPASS, Identity, make_credential
from support.watching import Watch, identity_namespace, prepare, published, watched_config

CONFIG = watched_config(closeAfter="10m", credentialsPerNamespace="20000")
OLD, NEW = 10_000, 100
CREATORS = 4
BATCH = "batch"
"""A label: `old` Secrets are deleted, `new` ones stay."""


@pytest.mark.timeout(900)
@pytest.mark.weekly
def test_of_ten_thousand_deletions_with_a_relist_among_them_none_is_missed(tmp_path: Path) -> None:
    """A fleet's rotation: all old Secrets go, the API server ends in the midst of it and forgets
    what was watched, and goes on deleting before anybody has looked again.
    """
    flags = ["--delete-collection-workers=8"]
    with ControlPlane.start(tmp_path / "plane", extra_apiserver_args=flags) as plane:
        prepare(plane, CONFIG)
        bot = plane.make_identity(identity_namespace(plane))
        old = make_secrets(plane, bot, OLD, "old")
        with Watch(tmp_path / "watch", plane, CONFIG) as watch:
            watch.wait_leading()
            new = make_secrets(plane, bot, NEW, "new")
            assert (len(old), len(new)) == (OLD, NEW)
            eventually("all are published", lambda: old | new <= published(plane), seconds=60)
            began = len(watch.events("published"))
            with deleting(plane, bot.namespace) as is_over:
                eventually("it has seen the first ones", lambda: old - published(plane))
                with watch.child.suspended():
                    plane.start_again()
                    left = count_secrets(plane, bot.namespace)
                    eventually(
                        "more are deleted", lambda: count_secrets(plane, bot.namespace) < left
                    )
                    # What was deleted since the first start is in nobody's history after this one.
                    plane.start_again()
                assert not is_over(), "there is nothing left to be missed"
                eventually("all are deleted", is_over, seconds=300)
            eventually("none is published", lambda: not old & published(plane), seconds=60)
            assert new <= published(plane)
            assert len(watch.events("published")) - began < OLD / 20


def make_secrets(plane: ControlPlane, bot: Identity, count: int, batch: str) -> set[str]:
    """Credentials of an identity; their UIDs."""
    labels = {**OF_DAYPASS, BATCH: batch}

    def made(_: int) -> str:
        uid = bot.service_account_uid
        return uid_of(make_credential(plane.admin, plane.ca_pem, bot.namespace, "bot", uid, labels))

    with ThreadPoolExecutor(CREATORS) as threads:
        return set(threads.map(made, range(count)))


@contextmanager
def deleting(plane: ControlPlane, namespace: str) -> Iterator[Callable[[], bool]]:
    """Delete the old ones beside, again and again until there is none; whether it is over."""
    where = f"{secrets_of(namespace)}?labelSelector={BATCH}%3Dold"
    stop = threading.Event()

    def left() -> bool:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", plane.port, context=plane.admin.context, timeout=100
        )
        with closing(connection) as asking:
            asking.request("DELETE", where)
            with asking.getresponse() as answer:
                return answer.status != 200 or bool(json.loads(answer.read())["items"])

    def delete_all() -> None:
        while not stop.is_set():
            try:
                if not left():
                    return
            except (OSError, http.client.HTTPException):
                stop.wait(0.02)  # it is away

    thread = threading.Thread(target=delete_all)
    thread.start()
    try:
        yield lambda: not thread.is_alive()
    finally:
        stop.set()
        thread.join()


def count_secrets(plane: ControlPlane, namespace: str) -> int:
    """How many Secrets a namespace has; one at least."""
    listed = plane.admin.get(f"{secrets_of(namespace)}?limit=1")
    return 1 + int(listed["metadata"].get("remainingItemCount", 0))


def secrets_of(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"
