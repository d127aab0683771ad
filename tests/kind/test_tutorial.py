"""docs/tutorials/kind.md from top to bottom, as its reader types it, on a real kind.

It needs what the page asks for: Docker, kubectl, kind, istioctl, and port 443. The workflow
kind.yml runs it; no target of make does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs.pages import ROOT, read_page

from docs.checks import report
from docs.sessions import follow, is_typed, session_here

PAGE = Path("docs/tutorials/kind.md")


@pytest.mark.timeout(3600)
def test_the_page_leads_to_a_guarded_service(tmp_path: Path) -> None:
    with session_here(tmp_path, seconds=900) as terminal:
        page = read_page(PAGE, (ROOT / PAGE).read_text())
        report(follow(page, terminal, is_typed))
