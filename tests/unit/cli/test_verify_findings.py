"""Findings as text."""

from __future__ import annotations

from daypass._core.findings import failure, ok, skipped, warning
from daypass.cli.verify import findings_text

FOUND = {
    "ekf": [
        ok("name", "ekf.example.com is 192.0.2.1"),
        warning("certificate", "for 3 more days", "renew it"),
        failure("api-server", "it redirects & <fails>", "first\nsecond"),
        skipped("plain-http", "not looked at"),
    ]
}


def test_the_text_report_has_a_line_per_finding_with_its_hint() -> None:
    assert findings_text(FOUND) == (
        "ekf\n"
        "  ✓ name         ekf.example.com is 192.0.2.1\n"
        "  ! certificate  for 3 more days\n"
        "                 renew it\n"
        "  ✗ api-server   it redirects & <fails>\n"
        "                 first\n"
        "                 second\n"
        "  - plain-http   not looked at\n"
    )
    painted = findings_text(FOUND, lambda level, mark: f"<{level}{mark}>")
    assert "  <failure✗> api-server   it redirects" in painted
