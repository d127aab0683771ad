"""What an authorizer makes of the published ConfigMaps, and when it takes nothing from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from daypass.gate.authorizer.followers import FUTURE_SECONDS, PublishedFollower
from daypass.gate.publication import denials_config_map, shard_config_map
from daypass.rules.published import (
    CLOSED_SHARD,
    CLUSTER_SHARDS,
    Presence,
    Published,
    Shard,
    shard_name,
    shard_of,
)
from support.messages import check
from support.publishing import CREDENTIAL, denied_by_hand, pairs
from support.timing import FakeClock
from support.tokens import SECRET_UID
from support.watched_api import ACCESS, WatchedApi

CLOSE_AFTER = 60
HOME = "daypass"
NUMBER = shard_of(SECRET_UID, CLUSTER_SHARDS)
NAME = shard_name(NUMBER)
Document = dict[str, Any]


class Followed:
    """A follower of an API server without a socket, and what it has passed on."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = WatchedApi()
        self.taken: list[Published] = []
        self.follower = PublishedFollower(
            ACCESS, HOME, self.taken.append, self.clock,
            close_after_seconds=CLOSE_AFTER, transport=self.api,
        )  # fmt: skip

    def receive(self, *documents: Document) -> None:
        """Have these ConfigMaps, with all the others, and list them."""
        for each in documents:
            metadata = {**each["metadata"], "namespace": HOME}
            name = metadata["name"]
            self.api.put("configmaps", name, data=each["data"], **metadata)
        self.list()

    def list(self) -> None:
        asyncio.run(self.follower._informer.sync())

    def closes(self, seconds: float) -> int:
        return int(self.clock.unix() + seconds)

    def shard(self, number: int = NUMBER, *uids: str, seconds: float = CLOSE_AFTER) -> Document:
        shard = Shard(credentials=pairs(uids), closes_unix=self.closes(seconds))
        return shard_config_map(number, shard, HOME, room=2000)

    def denials(self, seconds: float = CLOSE_AFTER, **denied: Any) -> Document:
        return denials_config_map(denied_by_hand(self.closes(seconds), **denied), "daypass")

    def list_all(self) -> None:
        """Receive everything, with one credential."""
        shards = [self.shard(n) for n in range(CLUSTER_SHARDS) if n != NUMBER]
        self.receive(*shards, self.shard(NUMBER, SECRET_UID), self.denials())

    def presence(self) -> Presence:
        self.follower.check()
        return self.taken[-1].find(CREDENTIAL, self.clock.unix())


@pytest.fixture
def followed() -> Followed:
    """One that has received everything."""
    made = Followed()
    made.list_all()
    return made


def without_data(followed: Followed) -> None:
    followed.receive({**followed.shard(), "data": None})


def of_another_format(followed: Followed) -> None:
    document = followed.shard(NUMBER, SECRET_UID)
    document["data"]["UIDs"] = document["data"].pop("entries")
    followed.receive(document)


def of_another_range(followed: Followed) -> None:
    document = followed.shard(NUMBER, "0" + SECRET_UID[1:])
    followed.receive(document)


def too_far_ahead(followed: Followed) -> None:
    seconds = CLOSE_AFTER + FUTURE_SECONDS + 1
    followed.receive(followed.shard(NUMBER, SECRET_UID, seconds=seconds))


@pytest.mark.parametrize(
    "break_it",
    [without_data, of_another_format, of_another_range, too_far_ahead],
)
def test_a_part_that_cannot_be_believed_is_closed_and_the_others_are_not(
    followed: Followed, break_it: Callable[[Followed], None]
) -> None:
    break_it(followed)
    assert followed.presence() is Presence.CLOSED
    shards = followed.taken[-1].shards
    assert [n for n, shard in enumerate(shards) if shard == CLOSED_SHARD] == [NUMBER]
    assert NAME in followed.follower.last_error
    check(followed.follower.last_error, reason=break_it.__name__)
    followed.list_all()
    assert followed.presence() is Presence.EXISTS
    assert followed.follower.last_error == ""


def test_denials_that_cannot_be_believed_close_everything(followed: Followed) -> None:
    followed.receive(followed.denials(CLOSE_AFTER + FUTURE_SECONDS + 1))
    assert followed.taken[-1].denials.is_closed(followed.clock.unix())


def test_a_clock_that_is_set_back_does_not_keep_a_part_open(followed: Followed) -> None:
    followed.clock.now_unix -= 3600
    assert followed.presence() is Presence.CLOSED
    assert followed.taken[-1].denials.is_closed(followed.clock.unix())
    followed.list_all()
    assert followed.presence() is Presence.EXISTS
