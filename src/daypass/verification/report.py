"""What a check has found: a level, a fact, and the next step.

Findings for people, for programs and for CI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree

from daypass._core.text import mask_unprintable


class Level(StrEnum):
    """How good it is. `skipped`: what it stands on has failed, or there was nothing to look at."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a check, such as `certificate`; `hint` says what to do next."""

    check: str
    level: Level
    fact: str
    hint: str = ""


def ok(check: str, fact: str) -> Finding:
    """All is well."""
    return Finding(check=check, level=Level.OK, fact=fact)


def warning(check: str, fact: str, hint: str = "") -> Finding:
    """It works, and somebody should know."""
    return Finding(check=check, level=Level.WARNING, fact=fact, hint=hint)


def failure(check: str, fact: str, hint: str = "") -> Finding:
    """It does not work, or it is not safe."""
    return Finding(check=check, level=Level.FAILURE, fact=fact, hint=hint)


def skipped(check: str, fact: str) -> Finding:
    """It could not be looked at."""
    return Finding(check=check, level=Level.SKIPPED, fact=fact)


MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "-"}
_COLOURS = {Level.OK: "32", Level.WARNING: "33", Level.FAILURE: "31", Level.SKIPPED: "2"}

Findings = Mapping[str, Sequence[Finding]]
"""By the name of the domain."""


def has_failures(findings: Findings) -> bool:
    """Return whether anything does not work, or is not safe."""
    return any(each.level is Level.FAILURE for found in findings.values() for each in found)


def text(findings: Findings, *, colour: bool = False) -> str:
    """A line a finding, with what to do below it."""
    lines: list[str] = []
    width = max((len(f.check) for each in findings.values() for f in each), default=0)
    for name, each in findings.items():
        lines.append(mask_unprintable(name, keep="\n"))
        for finding in each:
            mark = MARKS[finding.level]
            if colour:
                mark = f"\x1b[{_COLOURS[finding.level]}m{mark}\x1b[0m"
            first, *more = mask_unprintable(finding.fact, keep="\n").split("\n")
            lines.append(f"  {mark} {finding.check:<{width}}  {first}")
            indent = " " * (width + 6)
            lines += [f"{indent}{line}" for line in more]
            lines += [
                f"{indent}{line}"
                for line in mask_unprintable(finding.hint, keep="\n").split("\n")
                if line
            ]
    return "".join(f"{line}\n" for line in lines)


def as_json(findings: Findings) -> str:
    """`{"domains": {NAME: [{"check", "level", "fact", "hint"}]}}`."""
    domains = {
        name: [
            {
                "check": finding.check,
                "level": finding.level.value,
                "fact": finding.fact,
                "hint": finding.hint,
            }
            for finding in each
        ]
        for name, each in findings.items()
    }
    return json.dumps({"domains": domains}, indent=2) + "\n"


def junit(findings: Findings) -> str:
    """JUnit's XML: a suite a domain, a case a finding; warnings pass, with their words."""
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
            words = f"{finding.fact}\n{finding.hint}".rstrip()
            if finding.level is Level.FAILURE:
                bad = ElementTree.SubElement(case, "failure", {"message": finding.fact})
                bad.text = words
            elif finding.level is Level.SKIPPED:
                ElementTree.SubElement(case, "skipped", {"message": finding.fact})
            else:
                ElementTree.SubElement(case, "system-out").text = words
    ElementTree.indent(root)
    xml = ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
    # XML has no way to write most control characters, not even escaped.
    return mask_unprintable(xml, keep="\n") + "\n"
