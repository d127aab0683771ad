"""Everything that daypass renders, byte for byte as it is committed in this folder.

A change of the door, of the manifests, of the policy or of an identity's objects shows itself as a
change of these files, to be read in review. To accept one: `DAYPASS_GOLDEN=update pytest
tests/golden`, then read the diff.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from daypass import cli
from daypass._core import labels
from daypass._core.objects import Object
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import identity_objects, token_secret
from daypass.identity.reap import reaper_objects
from daypass.render.yaml import stream
from golden import door_setting
from support.manifest_cases import CASES

GOLDEN = Path(__file__).parent


def assert_committed(folder: Path, files: Mapping[str, str]) -> None:
    """Fail unless the folder has exactly these files. Inputs (*.daypass.yaml) are left out."""

    def found() -> dict[str, Path]:
        rendered = [f for f in folder.rglob("*.*") if not f.name.endswith(".daypass.yaml")]
        return {str(file.relative_to(folder)): file for file in rendered}

    if os.environ.get("DAYPASS_GOLDEN") == "update":
        for old in found().values():
            old.unlink()
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    committed = {name: file.read_text() for name, file in found().items()}
    assert sorted(files) == sorted(committed)
    for name, text in files.items():
        assert text == committed[name], f"{folder.name}/{name} differs; see this module's docstring"


def test_the_rendered_door_matches_the_committed_files() -> None:
    assert_committed(GOLDEN / "door", door_setting.rendered())


@pytest.mark.parametrize("name", CASES)
def test_the_rendered_tree_matches_the_committed_files(name: str) -> None:
    assert_committed(GOLDEN / "manifests" / name, CASES[name].tree())


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_the_same_settings_give_the_same_bytes_in_any_process(seed: str) -> None:
    program = (
        "from daypass.render.yaml import stream\n"
        "from golden.door_setting import rendered\n"
        "from support.manifest_cases import CASES\n"
        "print(repr(rendered()))\n"
        "for case in CASES.values(): print(stream(case.objects()), case.tree())"
    )
    rendering = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(GOLDEN.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [repr(door_setting.rendered())]
    expected += [f"{stream(case.objects())} {case.tree()}" for case in CASES.values()]
    assert rendering.stdout.splitlines() == "\n".join(expected).splitlines()


def test_the_rendered_policy_matches_the_committed_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, files = GOLDEN / "policy", {}
    for name in ("smallest", "everything"):
        config = str(folder / f"{name}.daypass.yaml")
        assert cli.main(["policy", "render", "--config", config]) == 0
        files[f"{name}.yaml"] = text = capsys.readouterr().out
        kinds = [document["kind"] for document in yaml.safe_load_all(text)]
        assert kinds == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    assert_committed(folder, files)


def test_the_order_of_values_in_a_policy_does_not_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = set()
    for audiences, exempt in (("a, b", "x, y"), ("b, a", "y, x")):
        config = tmp_path / "daypass.yaml"
        config.write_text(
            "version: 1\ndomains: {here: {host: localhost, front: envoy}}\n"
            f"policy: {{audiences: [{audiences}], exempt: [{exempt}]}}\n"
        )
        assert cli.main(["policy", "render", "--config", str(config)]) == 0
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1


def test_the_objects_of_an_identity_and_of_the_reaper_match_the_committed_files() -> None:
    secret = "bot-daypass-" + "0123456789" * 2
    image = "registry.example.com/daypass:0.1.0"
    annotations = CredentialsSettings(
        door="https://ekf.example.com/kubernetes",
        audience="istio-ingressgateway.istio-system.svc.cluster.local",
        lifetime_seconds=3600,
        authority="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ).annotations()
    expiring = {**annotations, labels.DEADLINE: "2027-02-22T16:00:00Z"}
    adopted = {**annotations, labels.ADOPTED: "true"}
    cases: dict[str, list[Object]] = {
        "identity": identity_objects("team", "bot", secret, expiring),
        "adopted": identity_objects("team", "bot", secret, adopted),
        "rotation": [token_secret("team", "bot", secret, replaces=f"{secret[:-1]}x")],
        "reap-everywhere": reaper_objects(home="daypass", namespace=None, image=image),
        "reap-one-namespace": reaper_objects(home="team", namespace="team", image=image),
    }
    files = {f"{name}.yaml": stream(objects) for name, objects in cases.items()}
    assert_committed(GOLDEN / "identity", files)
