"""What is published, and in which order, from what a watch has listed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daypass.gate.watch.schedule import (
    Observation,
    ObservedNamespace,
    ShardsPlanner,
    Turns,
    Urgency,
    steps_between,
)
from daypass.rules.published import (
    Denials,
    Published,
    Shard,
)
from support.publishing import pairs

NOW, UNIX, CLOSE_AFTER = 5000.0, 1_800_000_000.0, 600.0
FIRST, SECOND, LAST = (
    f"{prefix}000000-0000-4000-8000-000000000000" for prefix in ("00", "40", "ff")
)


def seen(listed_at: float | None, /, **namespaces: ObservedNamespace) -> Observation:
    return Observation(namespaces=namespaces, listed_at=listed_at)


def listed(*uids: str, at: float = NOW) -> ObservedNamespace:
    return ObservedNamespace(credentials=pairs(uids), listed_at=at)


def shards_of(observation: Observation) -> tuple[Shard, ...]:
    planner = ShardsPlanner(4, CLOSE_AFTER)
    return planner.wanted(observation, now=NOW, now_unix=UNIX).shards


def closing(observation: Observation) -> list[float]:
    """Seconds until each shard closes."""
    return [shard.closes_unix - UNIX for shard in shards_of(observation)]


def test_a_part_closes_after_the_oldest_listing_that_it_relies_on() -> None:
    observation = seen(
        NOW - 10, a=listed(FIRST, SECOND, at=NOW - 100), b=listed(SECOND, LAST, at=NOW - 200),
        c=listed(LAST, at=NOW - 5),
    )  # fmt: skip
    assert closing(observation) == [500, 400, 590, 400]


def test_a_namespace_that_cannot_be_listed_leaves_before_it_closes_others() -> None:
    observation = seen(NOW, old=listed(FIRST, at=NOW - 541), new=listed(LAST, at=NOW - 200))
    shards = shards_of(observation)
    assert [shard.uids for shard in shards] == [set(), set(), set(), {LAST}]
    assert shards[0].closes_unix == UNIX + 600
    observation = seen(NOW, old=listed(FIRST, at=NOW - 539))
    assert shards_of(observation)[0] == shard(61, FIRST)


def test_if_nothing_can_be_listed_no_namespace_leaves_and_all_close() -> None:
    observation = seen(NOW - 650, team=listed(FIRST, at=NOW - 700))
    assert shards_of(observation)[0] == shard(-100, FIRST)


def test_accounts_are_in_the_set_and_close_with_their_own_listing() -> None:
    team = {"team": listed(LAST, at=NOW - 90)}
    observation = replace(seen(NOW - 50, team=listed(FIRST, at=NOW - 100)), accounts=team)
    assert closing(observation) == [500, 550, 550, 510]
    assert shards_of(observation)[3].uids == {LAST}
    observation = replace(observation, accounts={"team": listed(LAST, at=NOW - 541)})
    assert [shard.uids for shard in shards_of(observation)] == [{FIRST}, set(), set(), set()]


def published(*shards: Shard) -> Published:
    return Published(shards=shards, denials=Denials(closes_unix=int(UNIX) + 600))


def shard(left_seconds: float, *uids: str) -> Shard:
    return Shard(credentials=pairs(uids), closes_unix=int(UNIX + left_seconds))


def steps(before: Published, after: Published) -> list[tuple[Urgency, int | None]]:
    found = steps_between(before, after, now_unix=UNIX, close_after_seconds=CLOSE_AFTER)
    return sorted(((urgency, number) for number, urgency in found.items()), key=lambda it: it[0])


def test_what_passes_less_is_more_urgent_than_what_passes_more_and_that_than_renewals() -> None:
    before = published(shard(100), shard(500), shard(500, SECOND), shard(500))
    after = published(shard(600), shard(600, FIRST), shard(600), shard(600))
    assert steps(before, after) == [
        (Urgency.REMOVAL, 2), (Urgency.ADDITION, 1), (Urgency.RENEWAL, 0),
    ]  # fmt: skip


def test_a_part_is_renewed_in_its_last_third_and_the_one_that_closes_first_is_first() -> None:
    before = published(shard(201), shard(199), shard(50, FIRST), shard(10))
    after = published(shard(600), shard(600), shard(600, FIRST), shard(600))
    assert list(steps_between(before, after, now_unix=UNIX, close_after_seconds=CLOSE_AFTER)) == [
        3, 2, 1,
    ]  # fmt: skip


def test_a_late_renewal_does_not_wait_until_nothing_else_changes() -> None:
    before = published(shard(199), shard(60), shard(500))
    after = published(shard(600), shard(600), shard(600, LAST))
    assert steps(before, after) == [
        (Urgency.ADDITION, 1), (Urgency.ADDITION, 2), (Urgency.RENEWAL, 0),
    ]  # fmt: skip


def test_without_a_newer_listing_nothing_is_renewed() -> None:
    before = published(shard(100, FIRST))
    assert steps(before, published(shard(100, FIRST))) == []


def test_what_is_closed_opens_before_others_are_renewed() -> None:
    before = published(shard(100), shard(-5, FIRST))
    after = published(shard(600), shard(600, FIRST))
    assert steps(before, after) == [(Urgency.ADDITION, 1), (Urgency.RENEWAL, 0)]


def test_what_would_be_closed_is_not_published_unless_it_removes() -> None:
    before = published(shard(-5), shard(-5, SECOND))
    after = published(shard(-5, FIRST), shard(-5))
    assert steps(before, after) == [(Urgency.REMOVAL, 1)]


@pytest.mark.parametrize("back_seconds", [5, 300, 10_800])
def test_after_a_clock_went_back_closing_times_are_shortened_at_once(back_seconds: int) -> None:
    before = published(shard(600 + back_seconds, FIRST), shard(600))
    after = published(shard(600, FIRST), shard(600))
    assert steps(before, after) == [(Urgency.REMOVAL, 0)]


def test_a_removal_waits_for_no_addition_and_removals_take_turns() -> None:
    turns = Turns()
    turns.begin()
    assert turns.next({7: Urgency.REMOVAL}) == (7, Urgency.REMOVAL)
    turns.begin()
    steps: dict[int | None, Urgency] = dict.fromkeys(range(64), Urgency.ADDITION)
    steps |= {7: Urgency.REMOVAL, 9: Urgency.REMOVAL}
    published = [turns.next(steps) for _ in range(3)]
    assert published == [(9, Urgency.REMOVAL), (7, Urgency.REMOVAL), (0, Urgency.ADDITION)]


def test_removals_without_end_starve_no_other_shard() -> None:
    turns, published = Turns(), []
    steps: dict[int | None, Urgency] = dict.fromkeys(range(64), Urgency.REMOVAL)
    steps |= {60: Urgency.ADDITION, 61: Urgency.ADDITION}
    for _ in range(130):  # one in each round, as if each took longer than the pace
        turns.begin()
        published.append(turns.next(steps))
    assert {(60, Urgency.ADDITION), (61, Urgency.ADDITION)} < {*published}
