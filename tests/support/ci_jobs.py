"""Jobs of CI systems, run here: the `run:` steps of a GitHub Action, and a GitLab job's script."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from support.children import path_without
from support.http_services import Handler, serving
from support.issuer import Issuer

PATH = f"{Path(sys.base_prefix) / 'bin'}:{path_without('daypass')}"
RUNNER_TOKEN = "runner-token-of-this-job"
MASK = "::add-mask::"
_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")


@dataclass(slots=True, kw_only=True)
class GitHubJob:
    """A job of a runner: its checkout, what earlier steps have set, and its log as users see it."""

    checkout: Path
    environment: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    log: str = ""
    masks: list[str] = field(default_factory=list)

    @classmethod
    def in_folder(cls, folder: Path) -> GitHubJob:
        for name in ("checkout", "temp", "home"):
            (folder / name).mkdir()
        places = {"RUNNER_TEMP": str(folder / "temp"), "HOME": str(folder / "home"), "PATH": PATH}
        return cls(checkout=folder / "checkout", environment=places)

    def uses(self, action: Path, *, first: int = 0, **inputs: str) -> int:
        """Run the steps of a composite action until one fails; return its exit code, or 0.

        `first`: the number of the first step that is run.
        """
        declared: dict[str, Any] = yaml.safe_load((action / "action.yml").read_text())
        assert inputs.keys() <= declared["inputs"].keys()
        values = {name: str(it["default"]) for name, it in declared["inputs"].items()} | inputs
        values = {f"inputs.{name}": value for name, value in values.items()}
        values["github.action_path"] = str(action)
        for step in declared["runs"]["steps"][first:]:
            assert step["shell"] == "bash"
            assert not _EXPRESSION.search(step["run"]), "an input would be code"
            given = {name: _evaluated(text, values) for name, text in step["env"].items()}
            if code := self.run(step["run"], **given):
                return code
            if "id" in step:
                prefix = f"steps.{step['id']}.outputs."
                values |= {f"{prefix}{name}": value for name, value in self.outputs.items()}
        results = declared["outputs"].items()
        self.outputs = {name: _evaluated(it["value"], values) for name, it in results}
        return 0

    def run(self, script: str, **given: str) -> int:
        """Run a step as the runner does, with its files for variables, paths and outputs."""
        files = {name: self._scratch / name for name in ("ENV", "PATH", "OUTPUT")}
        for file in files.values():
            file.write_text("")
        path = ":".join([*reversed(self.path), self.environment["PATH"]])
        commands = {f"GITHUB_{name}": str(file) for name, file in files.items()}
        step = self._scratch / "step.sh"
        step.write_text(script)
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(step)],
            cwd=self.checkout, env=self.environment | commands | given | {"PATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
        )  # fmt: skip
        self._write_log(done.stdout)
        self.environment |= _pairs(files["ENV"])
        self.outputs |= _pairs(files["OUTPUT"])
        self.path += files["PATH"].read_text().splitlines()
        return done.returncode

    @property
    def _scratch(self) -> Path:
        return Path(self.environment["RUNNER_TEMP"])

    def _write_log(self, text: str) -> None:
        for line in text.splitlines():
            if line.startswith(MASK):
                self.masks.append(line.removeprefix(MASK))
                continue
            for mask in self.masks:
                line = line.replace(mask, "***")
            self.log += f"{line}\n"


def _pairs(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def _evaluated(text: object, values: dict[str, str]) -> str:
    """Return a text with its expressions replaced. Only names and `A || B` are needed."""

    def value(match: re.Match[str]) -> str:
        return next((it for name in match[1].split(" || ") if (it := values[name])), "")

    return _EXPRESSION.sub(value, str(text))


@contextmanager
def oidc_of_the_runner(issuer: Issuer, subject: str) -> Iterator[dict[str, str]]:
    """What GitHub sets for a job with `id-token: write`, and what answers there."""

    class Tokens(Handler):
        def do_GET(self) -> None:
            (audience,) = parse_qs(urlsplit(self.path).query)["audience"]
            is_known = self.headers["Authorization"] == f"Bearer {RUNNER_TOKEN}"
            token = issuer.token(subject, audience).reveal()
            self.answer(200 if is_known else 401, json.dumps({"value": token if is_known else ""}))

    with serving(Tokens) as port:
        yield {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{port}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": RUNNER_TOKEN,
        }


def gitlab_job(component: Path, script: list[str], **inputs: str) -> tuple[dict[str, Any], str]:
    """Return a job that extends the component's, with inputs filled in, and its whole script."""
    header, _, body = component.read_text().partition("\n---\n")
    declared = yaml.safe_load(header)["spec"]["inputs"]
    assert inputs.keys() <= declared.keys()
    defaults = {name: it["default"] for name, it in declared.items() if "default" in it}
    values = {**defaults, **inputs}
    filled = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda it: values[it[1]], body)
    job = yaml.safe_load(filled)[".daypass"]
    return job, "\n".join(["set -eo pipefail", *job["before_script"], *script])
