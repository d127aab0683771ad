"""docs/reference/rbac.md names every command that uses a cluster, and every kind to apply."""

from __future__ import annotations

import re

import pytest
from tools.docs.pages import ROOT
from tools.reference.commands import command_parsers

from cluster.rights import PAGE, rights
from daypass._core.kubernetes.objects import group_of
from daypass.render.fronts import FRONTS
from support.manifest_cases import CASES


def plural(kind: str) -> str:
    name = re.sub("([^aeo])y$", r"\1ie", kind.lower())
    return f"{name}es" if name.endswith("s") else f"{name}s"


def rendered(case: str) -> set[tuple[str, str]]:
    """Groups and plurals of what a case renders, except Namespaces."""
    found = {(group_of(it["apiVersion"]), plural(it["kind"])) for it in CASES[case].objects()}
    return found - {("", "namespaces")}


ALLOWED = {
    (right.rule["apiGroups"][0], each)
    for right in rights("apply")
    for each in right.rule.get("resources", ())
    if "delete" in right.rule["verbs"]
}


@pytest.mark.parametrize("case", CASES)
def test_the_rights_to_apply_name_each_kind_that_is_rendered(case: str) -> None:
    assert rendered(case) <= ALLOWED


def test_the_rights_to_apply_name_no_kind_that_is_never_rendered() -> None:
    of_certificates = {("", "secrets")}  # cert-manager makes them for what is rendered
    assert set.union(*map(rendered, CASES)) | of_certificates == ALLOWED
    fronts = {domain.front for case in CASES.values() for domain in case.config.domains.values()}
    assert fronts == {front.kind() for front in FRONTS} | {"envoy"}


# The last two are the gate's programs, with Roles and ClusterRoleBindings.
_RULES_OF = re.findall(r"^Rules of .*?\n\n", (ROOT / PAGE.path).read_text(), re.M | re.S)
LISTED = re.findall(r"\[`(.*?)`\]", _RULES_OF[0])


def test_each_command_that_takes_a_kubeconfig_has_rights() -> None:
    takes = {
        " ".join(path)
        for path, parser in command_parsers().items()
        if "--kubeconfig" in parser._option_string_actions
    }
    assert takes == set(LISTED)
    assert all(rights(name) for name in LISTED[:-2])
