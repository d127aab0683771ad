"""Each page is sound: its links lead somewhere, and each block is run, read or taken."""

from __future__ import annotations

import re

import pytest
from tools.docs.pages import HOSTS, ROOT, Page, all_pages, link_mistakes

from docs.checks import block_mistakes, report, span_mistakes

EACH_PAGE = pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.path))
FENCE = re.compile(r"^[ >]*(?:[-*+] +|\d+[.)] +)?(?:```|~~~)", re.M)


@EACH_PAGE
def test_every_link_and_anchor_of_a_page_resolves(page: Page) -> None:
    report(link_mistakes(page, all_pages(), HOSTS))


@EACH_PAGE
def test_every_comment_about_blocks_is_understood(page: Page) -> None:
    report(page.mistakes)


@EACH_PAGE
def test_no_block_is_overlooked(page: Page) -> None:
    lines = FENCE.findall((ROOT / page.path).read_text())
    assert len(lines) == 2 * len(page.blocks), "a block is inside of HTML, or does not end"


@EACH_PAGE
def test_every_block_is_checked_and_right(page: Page) -> None:
    report(line for block in page.steps for line in block_mistakes(block))


@EACH_PAGE
def test_every_command_in_a_sentence_exists(page: Page) -> None:
    # The changelog names what was removed.
    report(() if page.path.name == "CHANGELOG.md" else span_mistakes(page))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_map_of_the_code_has_every_package() -> None:
    (page,) = (page for page in all_pages() if page.path.name == "CONTRIBUTING.md")
    (map_,) = (block.code for block in page.blocks if block.language == "text")
    packages = [file.parent.name for file in (ROOT / "src/daypass").glob("*/__init__.py")]
    assert [name for name in packages if not re.search(rf"^  .*\b{name}  ", map_, re.M)] == []
