"""An apply or a removal that ends at any of its writes: the same again goes on to the same end.

What has gone out and what the API server has done of it is not the same: both are tried, in turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from threading import Lock

import httpx2
import pytest

from daypass.deploy.cluster_state import read_cluster_state
from daypass.kube.cluster import Cluster
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deploying import (
    BOTH,
    ONLY_EKF,
    apply,
    clear,
    everything,
    prepare,
    remove,
    settle,
)

pytestmark = pytest.mark.usefixtures("cleared")


class Dead(Exception):
    """The process has ended. No code of daypass handles it."""


class Mortal(httpx2.BaseTransport):
    """The way to an API server of a process that ends at its `last` write, and asks no more then.

    `acted`: whether the API server still got that write. Writes that are under way at that moment
    may be done or not, as it happens.
    """

    def __init__(self, inner: httpx2.BaseTransport, last: int, *, acted: bool) -> None:
        self._inner, self._last, self._acted = inner, last, acted
        self._lock = Lock()
        self.writes = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        is_write = request.method != "GET" and "dryRun" not in request.url.params
        with self._lock:
            self.writes += is_write
            here = self.writes
        if here > self._last or (is_write and here == self._last and not self._acted):
            raise Dead
        response = self._inner.handle_request(request)
        if is_write and here == self._last:
            response.read()
            response.close()
            raise Dead
        return response

    def close(self) -> None:
        self._inner.close()


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, [install_istio], "istio-system")


@contextmanager
def dying(plane: ControlPlane, last: int, *, acted: bool) -> Iterator[tuple[Cluster, Mortal]]:
    """The plane for one who dies at a write."""
    with admin_cluster(plane) as opened:
        mortal = Mortal(opened._client._transport, last, acted=acted)
        opened._client._transport = mortal
        with suppress(Dead):
            yield opened, mortal


def names(cluster: Cluster) -> set[tuple[str, str, str]]:
    """Every object there is, by name; the address of a Service is another each time."""
    settle(cluster)
    return {each for each in everything(cluster) if not each[0].endswith(" IPAddress")}


@pytest.mark.weekly
@pytest.mark.timeout(900)
def test_an_apply_and_a_removal_that_end_anywhere_go_on_to_the_same_end(
    plane: ControlPlane, cluster: Cluster
) -> None:
    before = names(cluster)
    whole: set[tuple[str, str, str]] = set()
    for last in count(1):
        acted = last % 2 == 1
        with dying(plane, last, acted=acted) as (mortal, applying):
            apply(mortal, BOTH)
        noted = read_cluster_state(cluster).entries
        apply(cluster, BOTH)
        whole = whole or names(cluster)
        assert names(cluster) ^ whole == set(), last
        entries = read_cluster_state(cluster).entries
        assert noted.keys() <= entries.keys()
        assert all(each.uid and not each.taken_over for each in entries.values()), last
        with dying(plane, last, acted=acted) as (mortal, removing):
            remove(mortal)
        clear(cluster)
        assert names(cluster) ^ before == set(), last
        if applying.writes < last and removing.writes < last:
            break
    assert last > 18, "there are more writes than that"


@pytest.mark.timeout(300)
def test_a_prune_that_ends_anywhere_goes_on_to_the_same_end(
    plane: ControlPlane, cluster: Cluster
) -> None:
    apply(cluster, ONLY_EKF)
    whole = names(cluster)
    for last in count(1):
        apply(cluster, BOTH)
        with dying(plane, last, acted=last % 2 == 0) as (mortal, way):
            apply(mortal, ONLY_EKF)
        apply(cluster, ONLY_EKF)
        assert names(cluster) ^ whole == set(), last
        if way.writes < last:
            break
    assert last > 7
