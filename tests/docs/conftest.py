"""How many blocks of the documentation are checked in which way, at the end of the run."""

from __future__ import annotations

from collections import Counter

import pytest
from tools.docs.pages import all_pages

from docs.checks import NOT_RUN, treatment


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts, and each block that is not run with its reason."""
    blocks = [block for page in all_pages() for block in page.blocks]
    counts = Counter(treatment(block) for block in blocks)
    terminalreporter.section(f"{len(blocks)} blocks of the documentation")
    for name, count in counts.most_common():
        terminalreporter.line(f"{count:4} {name or 'NOT CHECKED'}")
    reasons = Counter(block.not_run for block in blocks if treatment(block) == NOT_RUN)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:9} {reason}")
