"""Findings of checks, and their output as text, JSON and JUnit XML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from xml.etree import ElementTree

from daypass._core.text import mask_unprintable


class Level(StrEnum):
    """The severity of a finding. `skipped`: the check was not possible, or had nothing to check."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a check."""

    check: Annotated[str, "the check, such as `certificate`"]
    level: Annotated[Level, "its severity; skipped: the check was not possible, or not needed"]
    fact: Annotated[str, "what was found"]
    hint: Annotated[str, "what to do next; empty: nothing"] = ""


def ok(check: str, fact: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, level=Level.OK, fact=fact)


def warning(check: str, fact: str, hint: str = "") -> Finding:
    """Return a finding about something that works, but should be looked at."""
    return Finding(check=check, level=Level.WARNING, fact=fact, hint=hint)


def failure(check: str, fact: str, hint: str = "") -> Finding:
    """Return a finding about something that does not work, or is not safe."""
    return Finding(check=check, level=Level.FAILURE, fact=fact, hint=hint)


def skipped(check: str, fact: str) -> Finding:
    """Return a finding that a check was skipped."""
    return Finding(check=check, level=Level.SKIPPED, fact=fact)


_MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "-"}
Findings = Mapping[str, Sequence[Finding]]
"""By the name of the domain."""


def has_failures(findings: Findings) -> bool:
    """Return whether anything does not work, or is not safe."""
    return any(each.level is Level.FAILURE for found in findings.values() for each in found)


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
