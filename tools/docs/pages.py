"""The pages of the documentation: their links, and their blocks of code.

docs/development/documentation.md says what a comment `<!-- docs: WORD, DETAIL -->` means, in the
first line of a page or above a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
GLOBS = ("*.md", "docs/**/*.md", "examples/**/*.md")
FOLLOWED = ("sh", "console", "python", "text")
"""The languages for which `not-run` in the first line of a page holds; data is always read."""

_COMMENT = re.compile(r"<!-- docs: ([a-z-]+)(?:, ((?:(?!-->).)*?))?\s+-->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_ATTRIBUTE = re.compile(r'\b(href|src|srcset|id|name)="([^"]+)"')
_LISTS = {
    f"{name}_{end}"
    for name in ("bullet_list", "ordered_list", "list_item", "blockquote")
    for end in ("open", "close")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of code, or a command in a comment, which readers do not see (`is_hidden`)."""

    place: str
    language: str
    code: str
    title: str = ""
    """The file that a reader saves it as."""
    not_run: str = ""
    """Why it is not run; empty if it is."""
    inside: str = ""
    """The YAML that it is a part of, with HERE in its place."""
    is_hidden: bool = False
    is_repeated: bool = False
    """Its commands are repeated until they print what is shown."""


@dataclass(slots=True, kw_only=True)
class Page:
    """A Markdown file. `path` is relative to the repository."""

    path: Path
    not_run: str = ""
    """Why nothing on it is run; empty if something may be."""
    cluster: tuple[str, ...] | None = None
    """What the cluster has in which it is followed; None if it needs no cluster."""
    steps: list[Block] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    """Where each link is, and what it names."""
    spans: list[tuple[str, str]] = field(default_factory=list)
    """Where each piece of code in the text is, and the code."""
    anchors: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    @property
    def blocks(self) -> list[Block]:
        """The fenced blocks, without what readers do not see."""
        return [step for step in self.steps if not step.is_hidden]


@cache
def all_pages() -> tuple[Page, ...]:
    """Return all pages of the repository, in the order of their paths."""
    found = {file for pattern in GLOBS for file in ROOT.glob(pattern)}
    return tuple(read_page(file.relative_to(ROOT), file.read_text()) for file in sorted(found))


def slug(heading: str) -> str:
    """Return the anchor of a heading, by GitHub's rules."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def read_page(path: Path, text: str) -> Page:
    """Return the page in a text."""
    page = Page(path=path)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    line = 0
    above = ("", "")
    for number, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else line
        place = f"{path}:{line}"
        if token.type in _LISTS:
            continue
        word, detail = above
        above = ("", "")
        if word and token.type != "fence":
            page.mistakes.append(f"{place}: no block follows `docs: {word}`")
        if token.type == "fence":
            page.steps.append(_block(token, place, page, word, detail))
        elif token.type == "code_block":
            page.mistakes.append(f"{place}: an indented block: put it between ``` lines")
        elif token.type == "html_block":
            above = _comment(token.content, place, page, first=number == 0)
            _read_html(token.content, place, page)
        elif token.type == "inline":
            _read_inline(token, place, page)
            if tokens[number - 1].type == "heading_open":
                shown = "".join(it.content for it in token.children or () if it.type != "image")
                page.anchors.append(slug(shown))
    if above[0]:
        page.mistakes.append(f"{path}:{line}: no block follows `docs: {above[0]}`")
    return page


def _comment(content: str, place: str, page: Page, *, first: bool) -> tuple[str, str]:
    """Apply a comment to the page, or return what it says of the next block."""
    match = _COMMENT.fullmatch(content.strip())
    if match is None:
        if "docs:" in content:
            page.mistakes.append(f"{place}: not of the form <!-- docs: WORD, DETAIL -->")
        return "", ""
    word, detail = match[1], match[2] or ""
    if not detail and word != "cluster":
        page.mistakes.append(f"{place}: {word} needs a reason, a command or YAML after a comma")
    if first and word == "not-run":
        page.not_run = detail
    elif first and word == "cluster":
        page.cluster = tuple(detail.split(", ")) if detail else ()
    elif word == "run" and not page.not_run:
        page.steps.append(Block(place=place, language="sh", code=detail, is_hidden=True))
    elif word in ("not-run", "inside", "eventually"):
        return word, detail
    else:
        page.mistakes.append(f"{place}: {word!r} is not known here")
    return "", ""


def _block(token: Token, place: str, page: Page, word: str, detail: str) -> Block:
    language, _, rest = token.info.strip().partition(" ")
    title = _TITLE.search(rest)
    not_run = page.not_run if language in FOLLOWED else ""
    return Block(
        place=place,
        language=language,
        code=token.content,
        title=title[1] if title else "",
        not_run=detail if word == "not-run" else not_run,
        inside=detail if word == "inside" else "",
        is_repeated=word == "eventually",
    )


def _read_inline(token: Token, place: str, page: Page) -> None:
    for child in token.children or ():
        target = child.attrGet("href") or child.attrGet("src")
        if target is not None:
            page.links.append((place, str(target)))
        elif child.type == "code_inline":
            page.spans.append((place, child.content))
        elif child.type == "html_inline":
            _read_html(child.content, place, page)
            if "docs:" in child.content:
                page.mistakes.append(f"{place}: a comment about blocks needs a line of its own")


def _read_html(content: str, place: str, page: Page) -> None:
    for name, value in _ATTRIBUTE.findall("" if content.startswith("<!--") else content):
        if name in ("id", "name"):
            page.anchors.append(value)
        else:
            page.links.append((place, value))


def link_mistakes(page: Page, pages: tuple[Page, ...], hosts: frozenset[str]) -> Iterator[str]:
    """Yield one line for each link that leads nowhere, and for each anchor that is not unique."""
    for anchor in {it for it in page.anchors if page.anchors.count(it) > 1}:
        yield f"{page.path}: two headings have the anchor #{anchor}: change one"
    anchors = {each.path: each.anchors for each in (*pages, page)}
    for place, target in page.links:
        if re.match(r"[a-z]+:", target):
            match = re.fullmatch(r"https://([a-z0-9.-]+)(/[^\s]*)?", target)
            if match is None or match[1] not in hosts:
                yield f"{place}: {target}: not https, or a host that is not listed in {__name__}"
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page.path.parent / name).resolve() if name else ROOT / page.path
        if name and not (file.is_relative_to(ROOT) and file.exists()):
            yield f"{place}: {target}: there is no such file"
        elif anchor and anchor not in anchors.get(file.relative_to(ROOT), ()):
            yield f"{place}: {target}: the page has no such heading"


HOSTS = frozenset({
    "docs.aws.amazon.com", "learn.microsoft.com", "cloud.google.com", "kubernetes.io", "istio.io",
    "www.envoyproxy.io", "gateway.envoyproxy.io", "gateway-api.sigs.k8s.io", "github.com",
    "docs.github.com", "docs.gitlab.com", "www.kubeflow.org", "cert-manager.io",
    "www.rfc-editor.org", "datatracker.ietf.org", "docs.pytest.org", "docs.python.org", "pypi.org",
    "openid.net", "keepachangelog.com", "semver.org", "www.python-httpx.org",
    "docs.arrikto.com", "developer.hashicorp.com", "pinniped.dev", "goteleport.com",
    "docs.cloud.google.com", "requests.readthedocs.io", "docs.aiohttp.org", "grpc.io",
})  # fmt: skip
"""Where links of the documentation may lead."""
