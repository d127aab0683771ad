"""Responses to judge, and the wording of findings."""

from __future__ import annotations

import json

from daypass.client.http1 import HttpResponse
from daypass.verification.report import Finding
from support.messages import check


def answer(code: int, body: str = "", **headers: str) -> HttpResponse:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpResponse(status=code, headers=named, body=body.encode())


def status(code: int, message: str, **headers: str) -> HttpResponse:
    document = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
    return answer(code, json.dumps(document), content_type="application/json", **headers)


def worded(finding: Finding) -> Finding:
    """The finding, whose wording is in the golden file."""
    text = f"{finding.fact}\n{finding.hint}".strip()
    check(text, reason=f"{finding.check}: {finding.level}")
    return finding
