"""Each link and each anchor of the documentation leads somewhere."""

from __future__ import annotations

import pytest
from tools.docs.pages import HOSTS, Page, all_pages, link_mistakes

from support.doc_checks import report

EACH_PAGE = pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.path))


@EACH_PAGE
def test_every_link_and_anchor_of_a_page_resolves(page: Page) -> None:
    report(link_mistakes(page, all_pages(), HOSTS))


@EACH_PAGE
def test_every_comment_about_blocks_is_understood(page: Page) -> None:
    report(page.mistakes)
