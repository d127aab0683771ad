"""The authorities that the clients of these tests trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from support.authority import Authority, Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """An authority, a certificate for localhost by it, and a file with it and with the stack's."""

    authority: Authority
    certificate: Certificate
    file: Path
