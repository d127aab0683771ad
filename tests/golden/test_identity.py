"""The objects of an identity and of the reaper, byte for byte as committed in `identity/`.

To accept a change: `DAYPASS_GOLDEN=update pytest tests/golden`, then read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daypass._core import labels
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import identity_objects, token_secret
from daypass.identity.reap import reaper_objects
from daypass.kube.resources import Object
from daypass.render.yaml import stream

GOLDEN = Path(__file__).parent / "identity"
SECRET = "bot-daypass-" + "0123456789" * 2
MARKS = CredentialsSettings(
    door="https://ekf.example.com/kubernetes",
    audience="istio-ingressgateway.istio-system.svc.cluster.local",
    lifetime_seconds=3600,
    authority="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
).annotations()
IMAGE = "registry.example.com/daypass:0.1.0"
CASES: dict[str, list[Object]] = {
    "identity": identity_objects(
        "team", "bot", SECRET, {**MARKS, labels.DEADLINE: "2027-02-22T16:00:00Z"}
    ),
    "adopted": identity_objects("team", "bot", SECRET, {**MARKS, labels.ADOPTED: "true"}),
    "rotation": [token_secret("team", "bot", SECRET, replaces=f"{SECRET[:-1]}x")],
    "reap-everywhere": reaper_objects(home="daypass", namespace=None, image=IMAGE),
    "reap-one-namespace": reaper_objects(home="team", namespace="team", image=IMAGE),
}


@pytest.mark.parametrize("name", CASES)
def test_the_objects_match_the_committed_files(name: str) -> None:
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("DAYPASS_GOLDEN") == "update":
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(stream(CASES[name]))
    assert stream(CASES[name]) == file.read_text()
