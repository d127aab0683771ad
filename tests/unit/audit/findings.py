"""Responses to judge, and the wording of findings."""

from __future__ import annotations

import json

from daypass.audit.finding import Finding
from daypass.client.http import Response
from support.messages import check


def answer(code: int, body: str = "", **headers: str) -> Response:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status=code, headers=named, body=body.encode())


def status(code: int, message: str, **headers: str) -> Response:
    document = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
    return answer(code, json.dumps(document), content_type="application/json", **headers)


def worded(finding: Finding) -> Finding:
    """The finding, whose wording is in the golden file."""
    text = f"{finding.fact}\n{finding.hint}".strip()
    check(text, reason=f"{finding.check}: {finding.level}")
    return finding
