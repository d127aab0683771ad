"""What docs/tutorials/kind.md has its reader save, and the config that it ends up with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from tools.docs.pages import ROOT, Page, read_page

PATH = Path("docs/tutorials/kind.md")
HOST, AUDIENCE = "echo.localhost", "istio-ingressgateway.istio-system.svc.cluster.local"
_ADDED = re.compile(r"^cat >> daypass\.yaml <<'END'\n(.*?)^END$", re.M | re.S)


def page() -> Page:
    """The tutorial."""
    return read_page(PATH, (ROOT / PATH).read_text())


def file(name: str) -> str:
    """The file of this name that the page shows."""
    (text,) = [block.code for block in page().blocks if block.title == name]
    return text


def objects(name: str) -> list[dict[str, Any]]:
    """The documents of a YAML file that the page shows."""
    return list(yaml.safe_load_all(file(name)))


def config_text(issuer: str) -> str:
    """What `daypass init` writes for the page, with the section that the page adds to it."""
    (added,) = [found for block in page().blocks for found in _ADDED.findall(block.code)]
    return f"""\
version: 1
cluster: {{issuer: '{issuer}'}}
domains:
  echo: {{host: {HOST}, front: istio, gateway: default/echo, tls: outside}}
policy: {{audiences: [{AUDIENCE}]}}
{added}"""
