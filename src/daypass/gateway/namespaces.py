"""The token Secrets of each namespace of identities by itself, so that no right goes further.

Which namespaces these are is what `identity create` labels for the policy. Each has a feed of its
own, begun and ended as namespaces come and go, with the right that a Role there gives. Where that
is missing, or there are more namespaces than FEEDS_AT_MOST, nobody sees what is deleted: such a
namespace is not followed, and the gate takes no token of it.
"""

from __future__ import annotations

from collections.abc import Callable

from daypass.gateway.denials import Denials
from daypass.gateway.feed import Feed, Followed
from daypass.kube.resources import NAMESPACES, Object, name_of
from daypass.render.policy.marks import ENFORCED, LABEL

FEEDS_AT_MOST = 500
"""Each is a thread and a connection."""


class EachNamespace:
    """Feeds by namespace; all methods are called under the lock of whoever follows.

    `make`: a feed of a namespace's token Secrets. `unix`: the time.
    """

    def __init__(
        self,
        make: Callable[[str], Feed],
        denials: Denials,
        unix: Callable[[], float],
        *,
        feeds_at_most: int = FEEDS_AT_MOST,
    ) -> None:
        self.feeds: dict[str, Feed] = {}
        self.waiting: set[str] = set()
        self._ending: list[Feed] = []
        self._make = make
        self._denials = denials
        self._unix = unix
        self._feeds_at_most = feeds_at_most
        self._is_started = False

    def namespaces(self) -> Followed:
        """What says which there are: all are, so that a lost label is told from an end."""
        return Followed(resource=NAMESPACES, listed=self._listed, happened=self._happened)

    def start(self) -> None:
        """Let the feeds follow, those that are there and those to come."""
        self._is_started = True
        for feed in self.feeds.values():
            feed.start()

    def stop(self) -> None:
        """End all."""
        for name in list(self.feeds):
            self._end(name)
        self.waiting.clear()

    def begin_waiting(self) -> None:
        """Begin what there was no room for before."""
        for name in sorted(self.waiting):
            self._begin(name)

    def followed(self, silent_at_most_seconds: float) -> frozenset[str]:
        """The namespaces of which something was heard lately."""
        return frozenset(
            name
            for name, feed in self.feeds.items()
            if (silent := feed.silent_seconds()) is not None and silent <= silent_at_most_seconds
        )

    def _listed(self, found: list[Object]) -> None:
        there = {name_of(each) for each in found}
        for name in self._denials.known_namespaces() - there:
            self._denials.namespace_gone(name, self._unix())
        labelled = {name_of(each) for each in found if _is_labelled(each)}
        for name in (self.feeds.keys() | self.waiting) - labelled:
            self._end(name)
        for name in sorted(labelled):
            self._begin(name)

    def _happened(self, what: str, found: Object) -> None:
        name = name_of(found)
        if what == "DELETED":
            self._denials.namespace_gone(name, self._unix())
        if what != "DELETED" and _is_labelled(found):
            self._begin(name)
        else:
            self._end(name)

    def _begin(self, name: str) -> None:
        if name in self.feeds:
            return
        self._ending = [feed for feed in self._ending if feed.is_running]
        if len(self.feeds) + len(self._ending) >= self._feeds_at_most:
            self.waiting.add(name)
            return
        self.waiting.discard(name)
        self.feeds[name] = self._make(name)
        if self._is_started:
            self.feeds[name].start()

    def _end(self, name: str) -> None:
        """What is known of it stays known: labelled again, it is compared with what is there."""
        self.waiting.discard(name)
        feed = self.feeds.pop(name, None)
        if feed is not None:
            feed.stop()
            self._ending.append(feed)


def _is_labelled(found: Object) -> bool:
    return (found["metadata"].get("labels") or {}).get(LABEL) == ENFORCED
