"""Each page is followed from top to bottom, and prints what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs.pages import Page, all_pages

from docs.checks import report
from docs.clusters import SERVING, cluster_session
from docs.sessions import follow, is_followed, session

FOLLOWED = [
    page for page in all_pages() if is_followed(page) and SERVING not in (page.cluster or ())
]


def each(pages: list[Page]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.path))


@each([page for page in FOLLOWED if page.cluster is None])
def test_a_page_prints_what_it_shows(page: Page) -> None:
    with session() as terminal:
        report(follow(page, terminal))


@each([page for page in FOLLOWED if page.cluster is not None])
def test_a_page_prints_what_it_shows_in_a_cluster(page: Page, tmp_path: Path) -> None:
    assert page.cluster is not None
    with cluster_session(tmp_path, page.cluster) as (terminal, pipelines):
        report(follow(page, terminal))
    users = {call.user for call in pipelines.calls}
    assert users == ({"system:serviceaccount:team:bot"} if "gate" in page.cluster else set())
    assert len(pipelines.runs) == ("gate" in page.cluster)
