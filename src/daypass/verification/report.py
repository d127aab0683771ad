"""The findings of `verify` as text and as JUnit XML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from xml.etree import ElementTree

from daypass._core.findings import Finding, Level
from daypass._core.text import mask_unprintable

_MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "-"}
Findings = Mapping[str, Sequence[Finding]]
"""By the name of the domain."""


def text(findings: Findings, paint: Callable[[str, str], str] = lambda level, mark: mark) -> str:
    """Return a line per finding, with its hint below.

    `paint` gets the level and the mark of each, and returns the mark in the level's colour.
    """
    lines: list[str] = []
    width = max((len(f.check) for each in findings.values() for f in each), default=0)
    indent = " " * (width + 6)
    for name, each in findings.items():
        lines.append(mask_unprintable(name, keep="\n"))
        for finding in each:
            mark = paint(finding.level, _MARKS[finding.level])
            first, *more = mask_unprintable(finding.fact, keep="\n").split("\n")
            hint = mask_unprintable(finding.hint, keep="\n").split("\n")
            lines.append(f"  {mark} {finding.check:<{width}}  {first}")
            lines += [f"{indent}{line}" for line in (*more, *filter(None, hint))]
    return "".join(f"{line}\n" for line in lines)


def junit(findings: Findings) -> str:
    """Return JUnit XML: a suite per domain, a case per finding. Warnings pass, with their text."""
    root = ElementTree.Element("testsuites")
    for name, each in findings.items():
        counts = {
            "tests": str(len(each)),
            "failures": str(sum(f.level is Level.FAILURE for f in each)),
            "skipped": str(sum(f.level is Level.SKIPPED for f in each)),
        }
        suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
        for finding in each:
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": f"daypass.{name}", "name": finding.check}
            )
            whole = f"{finding.fact}\n{finding.hint}".rstrip()
            if finding.level is Level.FAILURE:
                bad = ElementTree.SubElement(case, "failure", {"message": finding.fact})
                bad.text = whole
            elif finding.level is Level.SKIPPED:
                ElementTree.SubElement(case, "skipped", {"message": finding.fact})
            else:
                ElementTree.SubElement(case, "system-out").text = whole
    ElementTree.indent(root)
    xml = ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
    # XML has no way to write most control characters, not even escaped.
    return mask_unprintable(xml, keep="\n") + "\n"
