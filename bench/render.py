"""What `daypass render` costs for twenty domains, beside a Python that only imports its libraries
and beside kustomize, which builds the tree that it writes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.commands import BIN, _seconds
from bench.report import figure
from bench.rounds import compare

DOMAINS = 20
_FRONTS = (
    "front: ingress-nginx, tls: {secret: x}",
    "front: ingress, tls: {issuer: x}",
    "front: istio, tls: {secret: x}",
    "front: gateway-api, className: x, tls: {issuer: x}",
)
BAR_MILLISECONDS = 500


def run(*, quick: bool) -> None:
    """All of it; `quick` takes fewer rounds."""
    rounds = 7 if quick else 31
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        config = folder / "daypass.yaml"
        config.write_text(_config())
        render = [str(BIN / "daypass"), "render", "--config", str(config)]
        written = folder / "deploy"
        subprocess.run([*render, "--directory", str(written)], check=True, capture_output=True)
        libraries = [sys.executable, "-c", "import yaml, pydantic, argparse, hashlib, json"]
        kustomize = [str(BIN / "kubectl"), "kustomize", str(written)]
        found = compare(
            f"daypass render, {DOMAINS} domains | import yaml, pydantic",
            lambda: _seconds(render, {}), lambda: _seconds(libraries, {}),
            rounds=rounds, unit="ms", bar="",
        )  # fmt: skip
        compare(
            f"daypass render, {DOMAINS} domains | kubectl kustomize",
            lambda: _seconds(render, {}), lambda: _seconds(kustomize, {}),
            rounds=rounds, unit="ms", bar="",
        )  # fmt: skip
        median = statistics.median(found.ours)
        name = f"daypass render, {DOMAINS} domains"
        figure(name, f"{median:.0f} ms", bar=f"<= {BAR_MILLISECONDS} ms")


def _config() -> str:
    lines = [f"  d{i}: {{host: d{i}.example.com, {_FRONTS[i % 4]}}}\n" for i in range(DOMAINS)]
    return f"version: 1\ndomains:\n{''.join(lines)}policy: {{audiences: [gate]}}\n"
