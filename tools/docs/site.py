"""What MkDocs does not do for the site: pages of the repository outside of `docs`.

In the repository, pages link to each other and to files by relative paths. On the site, the pages
of the top folder are below `project/`, and files and folders that a page links to below `source/`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from tools.docs.pages import GLOBS, ROOT, all_pages, slug

COMMENTS = re.compile(r"\A(<!--.*?-->\s*)+|^ *<!-- docs: .*?-->\n", re.DOTALL | re.MULTILINE)
"""What only authors see: comments above the title, and those about blocks."""

LANGUAGES = {".service": "ini", ".md": "markdown", "": "text"}
"""How a file is coloured, where its suffix is not the name of its language."""


def site_path(file: Path) -> str:
    """Return where the site has a file or folder of the repository."""
    if file.is_relative_to(ROOT / "docs"):
        return str(file.relative_to(ROOT / "docs"))
    if file in set(ROOT.glob(GLOBS[0])):
        return f"project/{file.name.lower()}"
    return f"source/{file.relative_to(ROOT)}.md"


def on_config(config: MkDocsConfig) -> None:
    """Anchors are those of the repository's own pages."""
    config.mdx_configs["toc"] = {**config.mdx_configs["toc"], "slugify": lambda text, _: slug(text)}
    config.markdown_extensions.append(_Links())


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages of the top folder, and the files that pages link to."""
    for file in ROOT.glob(GLOBS[0]):
        files.append(File.generated(config, site_path(file), content=file.read_text()))
    for page in all_pages():
        for _, target in page.links:
            linked = _file_of(ROOT / page.path, target)
            if linked is not None and site_path(linked).startswith("source/"):
                _add_source(linked, files, config)


def _add_source(file: Path, files: Files, config: MkDocsConfig) -> None:
    path = site_path(file)
    if path in files.src_uris:
        return
    if file.is_dir():
        inside = sorted(file.iterdir())
        for each in inside:
            if each.is_file():
                _add_source(each, files, config)
        body = "\n".join(
            f"- [{it.name}]({file.name}/{it.name}.md)" for it in inside if it.is_file()
        )
    else:
        language = LANGUAGES.get(file.suffix, file.suffix.removeprefix("."))
        body = f"~~~~~ {language}\n{file.read_text()}\n~~~~~"
    content = f"---\nsearch: {{exclude: true}}\n---\n# `{file.relative_to(ROOT)}`\n\n{body}\n"
    added = File.generated(config, path, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
    files.append(added)


def _file_of(page: Path, target: str) -> Path | None:
    """Return the file of the repository that a link of a page names; None for any other link."""
    name = target.partition("#")[0]
    if not name or ":" in name:
        return None
    return Path(os.path.normpath(page.parent / name))


class _Links(Extension):  # type: ignore[misc]
    """Points links of the repository to the same files on the site."""

    page: Path | None = None
    """The page that is rendered now, in the repository."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(_LinkProcessor(md), "repository-links", 10)


class _LinkProcessor(Treeprocessor):  # type: ignore[misc]
    def run(self, root: Element) -> None:
        if _Links.page is None:
            return
        here = Path(site_path(_Links.page)).parent
        for element in root.iter():
            for name in ("href", "src"):
                file = _file_of(_Links.page, element.get(name, ""))
                if file is not None:
                    anchor = element.get(name, "").partition("#")[2]
                    there = os.path.relpath(site_path(file), here)
                    element.set(name, f"{there}#{anchor}" if anchor else there)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return a page without its comments: MkDocs takes a title only from the first line.

    Remember which page is rendered, and which are none of the repository.
    """
    path = page.file.src_uri
    known = {site_path(ROOT / each.path): ROOT / each.path for each in all_pages()}
    _Links.page = known.get(path)
    return COMMENTS.sub("", markdown)
