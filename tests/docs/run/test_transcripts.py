"""Each page is followed from top to bottom, and prints what it shows."""

from __future__ import annotations

import pytest
from tools.docs.pages import Page, all_pages

from support.doc_sessions import follow, is_followed, session
from support.documented import report

EMBEDDED = [page for page in all_pages() if page.directive is None and is_followed(page)]


@pytest.mark.parametrize("page", EMBEDDED, ids=lambda page: str(page.path))
def test_a_page_prints_what_it_shows(page: Page) -> None:
    with session() as terminal:
        report(follow(page, terminal))
