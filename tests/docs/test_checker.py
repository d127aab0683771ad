"""The checks of the documentation find what they are for: each mistake here is one of a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs.pages import HOSTS, all_pages, link_mistakes, read_page

from docs.checks import block_mistakes, span_mistakes

AGENT = '[[token]]\naudience = "a"\npath = "/run/a"\nfilemode = "0640"\n'
MISTAKES = {
    "[a](no-page.md)": "no such file",
    "[a](http://kubernetes.io/docs)": "not https",
    "# Same\n\n# Same": "two headings",
    "`daypass tokens`": "no command 'tokens'",
    "```sh\ndaypass token --audiance a\n```": "no option '--audiance'",
    "```sh\nmake no-target\n```": "no target",
    "```console\ndaypass token\n```": "begins with a command",
    "```text\ndaypass token [--zzz]\n```": "no option '--zzz'",
    "```ini\n[a]\n```": "is not checked",
    "```yaml\ngates: {default: {audiense: a}}\n```": "unknown key",
    "```python\ndaypass.Credentials.lode()\n```": "no daypass.Credentials.lode",
    "```yaml\non: push\njobs: {a: {runs-on: x, stepz: []}}\n```": "github-workflows",
    '```json\n{"type": "daypass", "version": 1, "tokn": "eyJ..."}\n```': "tokn",
    f"```toml\n{AGENT}```": "filemode",
    "<!-- docs: not-run -->\n```sh\nls\n```": "needs a reason",
    "<!-- docs: skip, it fails -->\n```sh\nls\n```": "'skip'",
    "<!-- docs: not-run, why -->\n\nText.": "no block follows",
    "<!-- docs: cluster, team -->": "'cluster' is not known here",
}


def found(text: str) -> list[str]:
    page = read_page(Path("docs/page.md"), text)
    blocks = [line for block in page.blocks for line in block_mistakes(block)]
    links = link_mistakes(page, all_pages(), HOSTS)
    return [*page.mistakes, *links, *span_mistakes(page), *blocks]


@pytest.mark.parametrize(("text", "words"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_found(text: str, words: str) -> None:
    (mistake, *_) = found(f"# A page\n\n{text}\n")
    assert words in mistake
    assert mistake.startswith("docs/page.md")
