"""The policy's label on the namespaces of identities, and warnings about it."""

from __future__ import annotations

from daypass._core.kubernetes import labels
from daypass.identity.enforcement import enforce_policy
from daypass.kube.resources import NAMESPACES
from support.embedded import EmbeddedCluster
from support.lifecycle import Warnings, make
from support.messages import check


def test_a_namespace_is_labelled_with_warnings_if_that_has_no_effect(
    embedded: EmbeddedCluster,
) -> None:
    warnings = Warnings()
    enforce_policy(embedded.cluster, "kube-system", warnings)
    found = embedded.cluster.get(NAMESPACES, "kube-system")["metadata"]["labels"]
    assert found[labels.POLICY] == labels.POLICY_ENFORCED
    label, exempt, missing = warnings
    assert "kube-system" in label
    assert "kube-system" in exempt
    assert missing.endswith("daypass apply")
    for warning in warnings:
        check(warning, reason="warning")


def test_without_permission_to_label_a_namespace_the_command_is_named(
    embedded: EmbeddedCluster,
) -> None:
    warnings = Warnings()
    enforce_policy(embedded.as_holder_of(make(embedded.cluster).token), "team", warnings)
    (warning,) = warnings
    assert "kubectl label namespace team daypass.dev/policy=enforced" in warning
    check(warning, reason="warning")
