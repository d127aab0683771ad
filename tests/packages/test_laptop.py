"""The programs that docs/tutorials/kind.md starts, as far as they run without Docker."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml
from tools.docs.pages import ROOT, read_page
from tools.gobuild import TOOLS, built

PATH = Path("docs/tutorials/kind.md")
BLOCKS = read_page(PATH, (ROOT / PATH).read_text()).blocks
DOCKER = """\
#!/bin/sh
echo "$@" >> "$0.log"
case "$1" in
run) exit 1;;
info) echo '{}';;
network) echo kind;;
esac
"""
"""A Docker that starts nothing, and notes what it is to start."""


def create_cluster(folder: Path, config: str) -> tuple[str, str]:
    """Let kind create a cluster; return what it prints, and what it asks Docker for."""
    docker = folder / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    done = subprocess.run(
        [built("kind"), "create", "cluster", "--config", "-"],
        input=config, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "KUBECONFIG": str(folder / "kubeconfig")},
    )  # fmt: skip
    log = folder / "docker.log"
    return done.stderr, log.read_text() if log.exists() else ""


def shown(name: str) -> str:
    """The file of this name that the page shows."""
    (text,) = [block.code for block in BLOCKS if block.title == name]
    return text


def node_port() -> int:
    """The port of the node that the page leads to Istio's gateway."""
    values = yaml.safe_load(shown("istio.yaml"))
    (port,) = values["spec"]["values"]["gateways"]["istio-ingressgateway"]["ports"]
    return int(port["nodePort"])


def test_kind_publishes_the_gateways_port_on_loopback_alone(tmp_path: Path) -> None:
    _, asked = create_cluster(tmp_path, shown("kind.yaml"))
    (run,) = [line for line in asked.splitlines() if line.startswith("run ")]
    assert "run --name daypass-control-plane " in run
    published = re.findall(r"--publish=(\S+)", run)
    assert f"127.0.0.1:443:{node_port()}/TCP" in published
    assert all(it.startswith("127.0.0.1:") for it in published)


def test_docker_is_given_the_recipe_which_it_would_not_find() -> None:
    code = "".join(block.code for block in BLOCKS)
    (recipe,) = re.findall(r"^docker build --file (\S+) ", code, re.MULTILINE)
    assert (ROOT / recipe).is_file()


def test_the_page_names_the_versions_that_are_tested_and_that_its_workflow_installs() -> None:
    page = (ROOT / PATH).read_text()
    module = (TOOLS / "kind" / "go.mod").read_text()
    kind = re.findall(r"sigs\.k8s\.io/kind v(\d+\.\d+)\.", module)[0]
    assert f"kind/releases) {kind} " in page
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "kind.yml").read_text())
    istio = ".".join(str(workflow["env"]["ISTIO"]).split(".")[:2])
    assert f"istio/releases) {istio}\n" in page
