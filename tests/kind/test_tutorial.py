"""docs/tutorials/kind.md from top to bottom, as its reader types it, on a real kind.

It needs what the page asks for: Docker, kubectl, kind, istioctl, and port 443. The workflow
kind.yml runs it; no target of make does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.checks import report
from docs.sessions import follow, is_typed, session_here
from support import laptop


@pytest.mark.timeout(3600)
def test_the_page_leads_to_a_guarded_service(tmp_path: Path) -> None:
    with session_here(tmp_path, seconds=900) as terminal:
        report(follow(laptop.page(), terminal, is_typed))
