"""Everything that daypass renders, value for value and byte for byte.

A change of the door, of the manifests, of the policy or of an identity's objects shows itself as a
change of `rendered.yaml`, to be read in review. To accept one: `DAYPASS_GOLDEN=update pytest
tests/golden`, then read the diff.
"""

from __future__ import annotations

import os
from difflib import unified_diff
from itertools import islice
from pathlib import Path

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.identity.accounts import IdentityName, token_secret
from daypass.identity.credentials_file import CredentialsSettings
from daypass.render.objects import stream
from daypass.render.policy import policy_objects
from golden import door_setting
from golden.shared_subtrees import shared
from support.fast_yaml import load_all
from support.lifecycle import identity_objects
from support.manifest_cases import CASES
from support.rendered import config_of

GOLDEN = Path(__file__).with_name("rendered.yaml")
POLICIES = {
    "smallest": "policy: {audiences: [gate.example.com]}\n",
    "everything": """\
policy:
  longestLifetime: 12h
  audiences: [kfp, gate.example.com]
  binding: optional
  successors: allowed
  federated: {longestLifetime: 20m}
  exempt: ["system:serviceaccount:vault:vault", jane@example.com]
  mode: warn
""",
}


def test_everything_rendered_matches_the_golden_file() -> None:
    files = {f"door/{name}": text for name, text in door_setting.rendered().items()}
    for case, rendered in CASES.items():
        files |= {f"manifests/{case}/{name}": text for name, text in rendered.tree().items()}
    for name, policy in POLICIES.items():
        files[f"policy/{name}.yaml"] = text = policy_of(policy)
        kinds = [document["kind"] for document in load_all(text)]
        assert kinds == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    for name, objects in identities().items():
        files[f"identity/{name}.yaml"] = stream(objects)
    text = shared(files)
    if os.environ.get("DAYPASS_GOLDEN") == "update":
        GOLDEN.write_text(text)
    committed = GOLDEN.read_text().splitlines()
    differences = unified_diff(committed, text.splitlines(), "committed", "rendered", lineterm="")
    assert "\n".join(islice(differences, 50)) == ""


def test_the_order_of_values_in_a_policy_does_not_matter() -> None:
    one, other = (
        policy_of(f"policy: {{audiences: [{audiences}], exempt: [{exempt}]}}\n")
        for audiences, exempt in (("a, b", "x, y"), ("b, a", "y, x"))
    )
    assert one == other


def policy_of(policy: str) -> str:
    """The objects of a policy."""
    config = config_of(
        f"version: 1\ndomains: {{here: {{host: localhost, front: envoy}}}}\n{policy}"
    )
    assert config.policy is not None
    return stream(policy_objects(config.policy))


def identities() -> dict[str, list[Object]]:
    """The objects of identities."""
    bot, secret = IdentityName(namespace="team", name="bot"), "bot-daypass-" + "0123456789" * 2
    annotations = CredentialsSettings(
        door="https://ekf.example.com/kubernetes",
        audience="istio-ingressgateway.istio-system.svc.cluster.local",
        lifetime_seconds=3600,
        authority="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ).annotations()
    expiring = {**annotations, labels.DEADLINE: "2027-02-22T16:00:00Z"}
    adopted = {**annotations, labels.ADOPTED: "true"}
    return {
        "identity": identity_objects(bot, secret, expiring),
        "adopted": identity_objects(bot, secret, adopted),
        "rotation": [token_secret(bot, secret, replaces=f"{secret[:-1]}x")],
    }
