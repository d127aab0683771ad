"""Each page is followed from top to bottom, and prints what it shows.

`test_pages_in_a_cluster` follows the tutorials whose cluster has Kubeflow.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs.pages import Directive, Page, all_pages

from support.controlplane import ControlPlane
from support.doc_checks import report
from support.doc_clusters import cluster_session
from support.doc_sessions import follow, is_followed, session

FOLLOWED = [page for page in all_pages() if is_followed(page)]


IN_A_CLUSTER = [page for page in FOLLOWED if page.directive and page.directive.word == "cluster"]


def each(pages: list[Page]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.path))


@each([page for page in FOLLOWED if page not in IN_A_CLUSTER])
def test_a_page_prints_what_it_shows(page: Page) -> None:
    with session() as terminal:
        report(follow(page, terminal))


@each([page for page in IN_A_CLUSTER if page.directive != Directive(word="cluster")])
def test_a_page_prints_what_it_shows_with_a_cluster(page: Page, tmp_path: Path) -> None:
    assert page.directive is not None
    with (
        ControlPlane.start(tmp_path) as plane,
        cluster_session(plane, page.directive.detail) as terminal,
    ):
        report(follow(page, terminal))
