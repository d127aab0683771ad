"""The rendered policy, byte for byte as it is committed in `policy/`.

To accept a change: `DAYPASS_GOLDEN=update pytest tests/golden`, then read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from daypass import cli

GOLDEN = Path(__file__).parent / "policy"


@pytest.mark.parametrize("name", ["smallest", "everything"])
def test_the_rendered_policy_matches_the_committed_files(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["policy", "render", "--config", str(GOLDEN / f"{name}.daypass.yaml")]) == 0
    text = capsys.readouterr().out
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("DAYPASS_GOLDEN") == "update":
        file.write_text(text)
    assert text == file.read_text()
    kinds = [document["kind"] for document in yaml.safe_load_all(text)]
    assert kinds == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]


def test_the_order_of_values_does_not_matter(
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
