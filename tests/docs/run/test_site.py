"""The site, as `make docs` builds it: complete, and the same as in the repository."""

from __future__ import annotations

import subprocess
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from tools.docs.pages import ROOT, Page, all_pages, slug

PYTHON = ROOT / ".venv-docs" / "bin" / "python"
ELEMENTS = {
    "fence": "pre", "table_open": "table", "list_item_open": "li", "heading_open": "h",
    "blockquote_open": "blockquote", "tr_open": "tr",
}  # fmt: skip
"""What both kinds of Markdown have to agree on, and its element on the site."""


@pytest.fixture(scope="module", autouse=True)
def environment() -> None:
    """The programs that build the site, as the lock has them."""
    subprocess.run(["make", "--silent", ".venv-docs/.synced"], cwd=ROOT, check=True)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-m", *map(str, arguments)],
        cwd=ROOT, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = run("mkdocs", "build", "--site-dir", folder)
    assert done.returncode == 0, done.stdout
    return folder


class Article(HTMLParser):
    """The elements and the anchors of a page's own text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.anchors: set[str] = set()
        _, _, article = html.partition("<article")
        self.feed(article.partition("</article>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements["h" if tag in ("h1", "h2", "h3", "h4", "h5", "h6") else tag] += 1
        self.anchors |= {value for name, value in attrs if name == "id" and value}


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.path))
def test_the_site_has_the_same_text_as_the_repository(page: Page, site: Path) -> None:
    inside = page.path.is_relative_to("docs")
    name = page.path.relative_to("docs") if inside else Path("project") / page.path.name.lower()
    html = (site / name.with_suffix(".html")).read_text()
    article = Article(html)
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page.path).read_text())
    expected = Counter(ELEMENTS[token.type] for token in tokens if token.type in ELEMENTS)
    assert {name: article.elements[name] for name in ELEMENTS.values()} == {
        name: expected[name] for name in ELEMENTS.values()
    }
    assert set(page.anchors) <= article.anchors
    whole = unescape(html.partition("<title>")[2].partition("</title>")[0])
    title = whole.removesuffix(" - daypass")
    # The page's first heading, unless the navigation has another title.
    assert slug(title) == page.anchors[0] or f"- {title}: " in (ROOT / "mkdocs.yml").read_text()
    assert "<!-- docs:" not in html


@pytest.mark.parametrize("nav", [[{"Home": "index.md"}], [{"Home": "index.md"}, "no-page.md"]])
def test_a_page_that_the_navigation_lacks_or_invents_is_an_error(
    nav: list[object], tmp_path: Path
) -> None:
    text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[0]
    config = {"INHERIT": "base.yml", "nav": nav, "docs_dir": str(ROOT / "docs")}
    (tmp_path / "base.yml").write_text(text)
    (tmp_path / "mkdocs.yml").write_text(
        yaml.safe_dump({**config, "hooks": [str(ROOT / "tools" / "docs" / "site.py")]})
    )
    done = run("mkdocs", "build", "--config-file", tmp_path / "mkdocs.yml")
    assert "Aborted with" in done.stdout
    assert "nav" in done.stdout
