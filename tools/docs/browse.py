"""Look at every page of the site with Chromium, and print what a reader would trip over.

    .venv-docs/bin/python -m tools.docs.browse SITE [SCREENSHOTS]

Exit code 1 if there is something: a page that scrolls sideways, an error in the browser's console,
a request to another machine, a search without results. SCREENSHOTS: a folder for pictures.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, Request, sync_playwright
from playwright.sync_api import TimeoutError as Timeout

WIDTHS = (390, 1280)
"""Of a phone and of a desktop, in CSS pixels."""
SEARCH = "revoke"
"""What is typed into the search; its first result has to contain it."""

_FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("article *")].find(
    it => it.getBoundingClientRect().right > width && !it.closest("pre, .md-typeset__scrollwrap"));
  return (wide || document.body).outerHTML.slice(0, 100);
}"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on a free port of loopback; yield its URL."""
    handler = functools.partial(_Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def problems(site: Path, screenshots: Path | None) -> Iterator[str]:
    """Yield one line for each problem of a site."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("browse: there is no chromium on PATH: run .ci/setup")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with served(site) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        page = browser.new_page(color_scheme="dark" if screenshots else "light")
        found: list[str] = []
        page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda it: found.append(f"{page.url}: {it.text}") if it.type == "error" else None,
        )
        page.on("request", lambda it: found.extend(_leaves(it, url)))
        for file in _pages(site):
            name = file.relative_to(site)
            page.goto(f"{url}/{name}")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                try:
                    page.wait_for_function(_FITS, timeout=2_000)  # what folds away moves a while
                except Timeout:
                    wide = page.evaluate(_WIDE)
                    found.append(f"{name} scrolls sideways at {width} pixels: {wide}")
                if screenshots:
                    target = screenshots / f"{str(name).replace('/', '-')}-{width}.png"
                    page.screenshot(path=target)
            yield from found
            found.clear()
        yield from _search(page, url)
        yield from found
        browser.close()


def _pages(site: Path) -> list[Path]:
    """Return the pages of a site; of those that only show a file, one."""
    pages = sorted(site.rglob("*.html"))
    sources = [page for page in pages if page.is_relative_to(site / "source")]
    return [page for page in pages if page not in sources[1:]]


def _leaves(request: Request, url: str) -> list[str]:
    if request.url.startswith((url, "data:", "blob:")):
        return []
    return [f"{request.frame.url} loads {request.url}"]


def _search(page: Page, url: str) -> Iterator[str]:
    page.goto(f"{url}/index.html?q={SEARCH}")
    result = page.locator(".md-search-result__item").first
    try:
        text = result.inner_text(timeout=20_000)
    except Timeout:
        yield f"the search finds nothing for {SEARCH!r}"
        return
    if SEARCH not in text.lower():
        yield f"the search for {SEARCH!r} finds: {text}"


if __name__ == "__main__":
    lines = list(problems(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None))
    print("\n".join(lines) or "the site is fine")
    sys.exit(bool(lines))
