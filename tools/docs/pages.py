"""The pages of the documentation: what each links to, and its blocks of code.

A comment `<!-- docs: WORD, DETAIL -->` says how a page (in its first line) or the block below it is
checked. CONTRIBUTING.md ("Documentation") lists the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
GLOBS = ("*.md", "docs/**/*.md", "examples/**/*.md")
PAGE_WORDS = ("cluster", "not-run")
BLOCK_WORDS = ("not-run", "inside", "part-of")

_COMMENT = re.compile(r"<!-- docs: ([a-z-]+)(?:, (.*?))?\s+-->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """What a comment says of a page or of a block."""

    word: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of code. `title`: the file that a reader saves it as."""

    place: str
    language: str
    code: str
    title: str = ""
    directive: Directive | None = None
    page_directive: Directive | None = None

    @property
    def not_run(self) -> str:
        """Why this block, or its page, is not run; empty if it is."""
        if self.part_of:
            return f"it is a part of {self.part_of}"
        for directive in (self.directive, self.page_directive):
            if directive is not None and directive.word == "not-run":
                return directive.detail
        return ""

    @property
    def part_of(self) -> str:
        """The file of the repository that has these lines; empty if no comment names one."""
        directive = self.directive
        return directive.detail if directive is not None and directive.word == "part-of" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenCommand:
    """A command that is run between two blocks, and that readers do not see.

    Without `code`, the command that was started last is stopped.
    """

    place: str
    code: str


@dataclass(slots=True, kw_only=True)
class Page:
    """A Markdown file. `path` is relative to the repository."""

    path: Path
    directive: Directive | None = None
    steps: list[Block | HiddenCommand] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    """Where each link is, and what it names."""
    spans: list[tuple[str, str]] = field(default_factory=list)
    """Where each piece of code in the text is, and the code."""
    anchors: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    @property
    def blocks(self) -> list[Block]:
        """The fenced blocks, without what readers do not see."""
        return [step for step in self.steps if isinstance(step, Block)]


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
    pending: Directive | None = None
    for number, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else line
        place = f"{path}:{line}"
        if token.type == "fence":
            page.steps.append(_block(token, place, pending, page))
        elif token.type == "code_block":
            page.mistakes.append(f"{place}: an indented block: put it between ``` lines")
        elif token.type == "html_block":
            if pending is not None:
                page.mistakes.append(f"{place}: no block follows `docs: {pending.word}`")
            pending = _comment(token, place, page, first=number == 0)
            _read_html(token.content, place, page)
            continue
        elif token.type == "inline":
            _read_inline(token, place, page)
            if tokens[number - 1].type == "heading_open":
                shown = "".join(it.content for it in token.children or () if it.type != "image")
                page.anchors.append(slug(shown))
        if pending is not None and token.type not in _LISTS:
            if token.type != "fence":
                page.mistakes.append(f"{place}: no block follows `docs: {pending.word}`")
            pending = None
    return page


_LISTS = {
    f"{name}_{end}"
    for name in ("bullet_list", "ordered_list", "list_item", "blockquote")
    for end in ("open", "close")
}


def _comment(token: Token, place: str, page: Page, *, first: bool) -> Directive | None:
    """Apply a comment to the page, or return what it says of the next block."""
    match = _COMMENT.search(token.content)
    if match is None:
        if "docs:" in token.content:
            page.mistakes.append(f"{place}: not of the form <!-- docs: WORD, DETAIL -->")
        return None
    directive = Directive(word=match[1], detail=(match[2] or "").strip())
    if directive.word == "not-run" and not directive.detail:
        page.mistakes.append(f"{place}: not-run needs a reason")
    if first and directive.word in PAGE_WORDS:
        page.directive = directive
    elif directive.word in ("run", "stop"):
        page.steps.append(HiddenCommand(place=place, code=directive.detail))
    elif directive.word in BLOCK_WORDS:
        return directive
    else:
        known = f"of a page (first line): {PAGE_WORDS}; of a block: {(*BLOCK_WORDS, 'run', 'stop')}"
        page.mistakes.append(f"{place}: no {directive.word!r} is known here; {known}")
    return None


def _block(token: Token, place: str, directive: Directive | None, page: Page) -> Block:
    language, _, rest = token.info.strip().partition(" ")
    title = _TITLE.search(rest)
    return Block(
        place=place,
        language=language,
        code=token.content,
        title=title[1] if title else "",
        directive=directive,
        page_directive=page.directive,
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


def _read_html(content: str, place: str, page: Page) -> None:
    parser = _Html()
    parser.feed(content)
    page.links += [(place, target) for target in parser.links]
    page.anchors += parser.anchors


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src", "srcset"):
                self.links.append(value)
            elif value and name in ("id", "name"):
                self.anchors.append(value)


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
    "cli.github.com",
})  # fmt: skip
"""Where links of the documentation may lead."""
