"""The workflows, the action and the component: what their schemas and linters say of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.bootstrap import ROOT
from tools.docs.pages import all_pages
from tools.gobuild import built

from docs.data import documents_in

BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION, COMPONENT = ROOT / "action.yml", ROOT / "templates" / "daypass.yml"
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def run(*words: str | Path, given: str | None = None) -> tuple[int, str]:
    """The exit code and all output of a program."""
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, input=given, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    return done.returncode, done.stdout


def check_schema(name: str, *files: Path) -> None:
    code, said = run(BIN / "check-jsonschema", "--builtin-schema", name, *files)
    assert code == 0, said


def test_actionlint_has_nothing_to_say() -> None:
    assert run(
        built("actionlint"), "-shellcheck", BIN / "shellcheck", "-pyflakes=", *WORKFLOWS
    ) == (0, "")


def test_the_files_fit_their_schemas(tmp_path: Path) -> None:
    check_schema("vendor.github-workflows", *WORKFLOWS)
    check_schema("custom.github-workflows-require-timeout", *WORKFLOWS)
    check_schema("vendor.dependabot", ROOT / ".github" / "dependabot.yml")
    check_schema("vendor.github-actions", ACTION)
    for number, document in enumerate(COMPONENT.read_text().split("\n---\n")):
        part = tmp_path / f"{number}.yml"
        part.write_text(document)
        check_schema("vendor.gitlab-ci", part)


def test_zizmor_finds_no_weakness() -> None:
    code, said = run(BIN / "zizmor", "--offline", "--no-progress", *WORKFLOWS, ACTION)
    assert code == 0, said


def test_shellcheck_has_nothing_to_say_of_the_clients_scripts() -> None:
    steps = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    for step in steps:
        assert run(BIN / "shellcheck", "--shell", "bash", "-", given=step["run"]) == (0, "")
    body = COMPONENT.read_text().partition("\n---\n")[2]
    script = "\n".join(yaml.safe_load(body)[".daypass"]["before_script"])
    assert run(BIN / "shellcheck", "--shell", "sh", "-", given=script) == (0, "")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_with_their_version(file: Path) -> None:
    used = [line for line in file.read_text().splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not PINNED.search(line)] == []


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_each_job_has_just_its_own_permissions_and_no_stored_secret(file: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {}
    writes = {
        (name, permission)
        for name, job in workflow["jobs"].items()
        for permission, level in job["permissions"].items()
        if level == "write"
    }
    assert writes == WRITES.get(file.name, set())
    assert "secrets." not in file.read_text()


def test_the_workflows_in_the_docs_are_valid(tmp_path: Path) -> None:
    (page,) = [it for it in all_pages() if it.path.name == "ci-without-secrets.md"]
    uses = [it for it in page.blocks if "uses: OWNER/daypass@" in it.code]
    workflows = [document for block in uses for document in documents_in(block)]
    gitlab, by_hand = (it.code for it in page.blocks if "$CI_SERVER_FQDN/OWNER/" in it.code)
    for workflow in workflows:
        workflow["on"] = workflow.pop(True)  # YAML 1.1 takes the key `on` for true
        text = yaml.safe_dump(workflow).replace("OWNER/daypass@COMMIT", "o/daypass@main")
        (tmp_path / "github.yml").write_text(text)
        assert run(built("actionlint"), tmp_path / "github.yml") == (0, "")
    for code in (gitlab, by_hand):
        (tmp_path / "gitlab.yml").write_text(code)
        check_schema("vendor.gitlab-ci", tmp_path / "gitlab.yml")
    declared = yaml.safe_load(ACTION.read_text())["inputs"]
    steps = [step for it in workflows for job in it["jobs"].values() for step in job["steps"]]
    given = [step["with"] for step in steps if "daypass" in step.get("uses", "")]
    assert len(given) == len(uses) == 2
    assert [it for it in given if not it.keys() <= declared.keys()] == []
    (component,) = yaml.safe_load(gitlab)["include"]
    inputs = yaml.safe_load(COMPONENT.read_text().partition("\n---\n")[0])["spec"]["inputs"]
    required = {name for name, it in inputs.items() if "default" not in it}
    assert required <= component["inputs"].keys() <= inputs.keys()


WRITES = {
    "release.yml": {
        ("attest", "attestations"), ("attest", "id-token"), ("sign", "id-token"),
        ("publish", "id-token"), ("announce", "contents"),
    },
}  # fmt: skip
