"""Each command line and each config of the documentation is one that its program takes."""

from __future__ import annotations

import pytest
from tools.docs.pages import Page, all_pages

from support.doc_checks import block_mistakes, report, span_mistakes

EACH_PAGE = pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.path))


@EACH_PAGE
def test_every_block_is_one_that_its_program_takes(page: Page) -> None:
    report(line for block in page.blocks for line in block_mistakes(block))


@EACH_PAGE
def test_every_command_in_a_sentence_exists(page: Page) -> None:
    # The changelog names what was removed.
    report(() if page.path.name == "CHANGELOG.md" else span_mistakes(page))
