"""The checks of the documentation find what they are for: each mistake here is one of a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs.pages import HOSTS, all_pages, link_mistakes, read_page

from support.doc_checks import block_mistakes, span_mistakes

AGENT = '[[token]]\naudience = "a"\npath = "/run/a"\nfilemode = "0640"\n'
MISTAKES = {
    "[a](no-page.md)": "no such file",
    "[a](../../outside.md)": "no such file",
    "[a](../README.md#no-heading)": "no such heading",
    "![a](no-picture.png)": "no such file",
    '<img src="no-picture.png">': "no such file",
    "[a](http://kubernetes.io/docs)": "not https",
    "[a](https://unknown.example.com/)": "not listed",
    "[a][b]\n\n[b]: no-page.md": "no such file",
    "# Same\n\n# Same": "two headings",
    "`daypass tokens`": "no command 'tokens'",
    "`daypass identity make NAME`": "no command 'make'",
    "`daypass token --audiance A`": "no option '--audiance'",
    "```sh\ndaypass token --audiance a\n```": "no option '--audiance'",
    "```sh\ndaypass tokens\n```": "no such command",
    "```sh\ndaypass kubeconfig\n```": "needs --server URL",
    "```sh\ndaypass token --output jsn\n```": "'jsn' is not one of",
    "```sh\ndaypass token --lifetime DURATION --zzz\n```": "no option '--zzz'",
    "```sh\nA=b daypass token -o header | curl -H @- https://x && daypass toke\n```": "no such",
    '```sh\ncurl -H "Authorization: Bearer $(daypass token --zzz)" https://x\n```': "'--zzz'",
    "```sh\ndaypass token \\\n  --zzz\n```": "no option '--zzz'",
    "```sh\necho 'open\n```": "bash cannot parse",
    "```sh\nmake no-target\n```": "no target",
    "```console\n$ daypass token --zzz\neyJ...\n```": "no option '--zzz'",
    "```console\ndaypass token\n```": "begins with a command",
    "```text\n$ daypass token\n```": "`console` block",
    "```text\ndaypass token [--zzz]\n```": "no option '--zzz'",
    "```\nanything\n```": "is not checked",
    "```ini\n[a]\n```": "is not checked",
    "```go\nvar thereIsNoSuchLine = 1\n```": "is not checked",
    "    daypass token": "an indented block",
    "```yaml\ngate: {audiense: a}\n```": "unknown key",
    "```yaml\nversion: 1\ndomains: {a: {host: localhost, front: envoi}}\n```": "envoi",
    "```yaml\na: [b\n```": "expected",
    "```yaml\nsomething: else\n```": "no reader",
    '```json\n{"something": "else"}\n```': "no reader",
    '```json\n{"doors": []}\n```': "'gates' is a required property",
    "```text\nanything\n```": "no reader",
    "```python\nimport daypass.nothing\n```": "no daypass.nothing",
    "```python\ndaypass.Credentials.lode()\n```": "no daypass.Credentials.lode",
    "<!-- docs: not-run, why -->\n```python\n1 +\n```": "invalid syntax",
    "<!-- docs: not-run, why -->\n```ini\n[a]\n```": "is not checked",
    "```yaml\non: push\njobs: {a: {runs-on: x, stepz: []}}\n```": "github-workflows",
    "```yaml\na: {script: [ls], imagee: x}\n```": "gitlab-ci",
    "```json\n{a: 1}\n```": "Expecting",
    '```json\n{"type": "daypass", "version": 1, "tokn": "eyJ..."}\n```': "tokn",
    f"```toml\n{AGENT}```": "filemode",
    '```toml\non_renewal = [{ sgnal = "HUP" }]\n```': "sgnal",
    "<!-- docs: not-run -->\n```sh\nls\n```": "needs a reason",
    "<!-- docs: skip, it fails -->\n```sh\nls\n```": "'skip'",
    "<!-- docs not-run docs: -->\n": "not of the form",
    "<!-- docs: not-run, why -->\n\nText.": "no block follows",
    "Text.\n\n<!-- docs: not-run, why -->": "no block follows",
    "Text <!-- docs: run, ls -->": "a line of its own",
    "<!-- docs: run, ls --> <!-- docs: run, ls -->": "not of the form",
    "<!-- docs: run -->": "needs a reason",
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


PAGE_NOT_RUN = """<!-- docs: not-run, it needs a cluster -->
# A page

<!-- docs: run, ls -->
```sh
ls
```

```yaml
something: else
```
"""


def test_a_page_that_is_not_run_has_no_hidden_command_and_no_unknown_data() -> None:
    mistakes = found(PAGE_NOT_RUN)
    assert [line.partition(": ")[0] for line in mistakes] == ["docs/page.md:4", "docs/page.md:9"]
