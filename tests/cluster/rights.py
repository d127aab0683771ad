"""Commands run by users with the rights of docs/reference/rbac.md and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from _pytest.mark import ParameterSet
from tools.docs.pages import all_pages

from cluster.restricted_users import kubeconfig_with
from daypass.cli import main
from docs.data import documents_in
from support import identities
from support.admin import Document
from support.admin_shell import AdminShell
from support.controlplane import ControlPlane

PAGE = next(page for page in all_pages() if page.path.name == "rbac.md")
_ENDS = {"namespace": "", "grants": "-grants", "gate": "-gate", "cluster": "-cluster"}
OBJECTS = [
    document
    for block in PAGE.blocks
    if block.language == "yaml"
    for document in documents_in(block)
]
"""All that the page has."""
_ROLES = {role["metadata"]["name"]: role for role in OBJECTS if role["kind"] == "ClusterRole"}
SAME = {
    "identity show": "identity list",
    "identity federate": "identity create",
    "diff": "apply",
    "remove": "apply",
}
"""Commands with the rights of others, and perhaps more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A rule of the page, for the namespaces of a scope."""

    scope: str
    rule: Document


def rights(command: str) -> list[Right]:
    """The rights that the page gives to a command."""
    name = f"daypass-{command.replace(' ', '-')}"
    own = [
        Right(scope=scope, rule=rule)
        for scope, end in _ENDS.items()
        for rule in _ROLES.get(f"{name}{end}", {"rules": []})["rules"]
    ]
    return [*own, *rights(SAME[command])] if command in SAME else own


REPORTS = (
    "needs this rule", "you may not", "not currently held", "that they do not hold", "no right to",
)  # fmt: skip
"""What commands say of a missing right: one of these."""
HELD = {"bind", "escalate", "impersonate"}
"""Verbs of no request: the API server asks whether a user has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command as users run it; an administrator runs the lines that begin with `# `.

    `{namespace}` and the like stand for the first namespace of a scope. `code`: how the command's
    own lines end. `held`: rights that it uses in no request of these lines, such as `watch secrets`
    for a Role that it makes; or whole verbs. `optional`: what it does without, and reports nothing.
    """

    lines: Sequence[str]
    code: int = 0
    held: Sequence[str] = ()
    optional: Sequence[str] = ()


def forget_default_rights(plane: ControlPlane) -> None:
    """Let ServiceAccounts not read the issuer and its keys, as other users of a cluster."""
    binding = "clusterrolebindings/system:service-account-issuer-discovery"
    plane.admin.delete(f"{identities.RBAC}/{binding}")


def omissions(commands: Iterable[str]) -> list[ParameterSet]:
    """Each command with all its rights (None), and weekly without each, unless another has it."""
    return [
        pytest.param(command, omitted, marks=() if omitted is None else pytest.mark.weekly)
        for command in commands
        for omitted in (None, *(() if command in SAME else range(len(rights(command)))))
    ]


def assert_rights(
    shell: AdminShell,
    command: str,
    omitted: int | None,
    case: Case,
    places: Mapping[str, Sequence[str]],
) -> None:
    """Fail unless the command reports the right that is left out. With all: unless it does its
    work, is refused only what is optional, and uses each verb. `places`: namespaces by scope.
    """
    granted = [each for number, each in enumerate(rights(command)) if number != omitted]
    file = kubeconfig_with(shell.plane, shell.folder, grants(granted, places))
    since = shell.plane.audit_position()
    said = ""
    for line in case.lines:
        whole = line.format_map({scope: names[0] for scope, names in places.items()})
        if whole.startswith("# "):
            code, output = _run(shell, whole.removeprefix("# "))
            assert code in (0, 3), output
            continue
        code, output = _run(shell, f"{whole} --kubeconfig {file}")
        said += output
        if omitted is None:
            assert (code, _reported(output)) == (case.code, []), output
        elif _reported(output):
            return
    assert omitted is None, said
    used, refused = _requests(shell, f"system:serviceaccount:default:{file.stem}", since)
    assert refused <= {*case.optional}, refused
    unused = {use for right in granted for use in uses_of(right.rule)} - used
    unused = {use for use in unused if not {use, use.split()[0]} & {*HELD, *case.held}}
    assert not unused, unused


def grants(
    granted: Iterable[Right], places: Mapping[str, Sequence[str]]
) -> list[tuple[str, list[Document]]]:
    """Each place with its rules; "" is the whole cluster."""
    rules: dict[str, list[Document]] = {}
    for right in granted:
        for place in {**places, "cluster": [""]}[right.scope]:
            rules.setdefault(place, []).append(right.rule)
    return list(rules.items())


def _run(shell: AdminShell, line: str) -> tuple[int, str]:
    shell.output.readouterr()
    code = main(line.split())
    return code, "".join(shell.output.readouterr())


def _reported(output: str) -> list[str]:
    return [words for words in REPORTS if words in output]


def _requests(shell: AdminShell, user: str, since: int) -> tuple[set[str], set[str]]:
    """What a user has used, and what was refused."""
    used, refused = set[str](), set[str]()
    for event in shell.plane.whole_audit_log(since=since):
        if event["user"]["username"] == user and "impersonatedUser" not in event:
            (refused if _code(event) == 403 else used).update(_uses(event))
    return used, refused


def uses_of(rule: Document) -> Iterator[str]:
    """`VERB RESOURCE.GROUP` for each; none for `*`."""
    groups = rule.get("apiGroups", [""])
    for kind in rule.get("resources") or rule["nonResourceURLs"]:
        for verb in () if "*" in groups else rule["verbs"]:
            yield f"{verb} {kind}.{groups[0]}".rstrip(".")


def _uses(event: Document) -> Iterator[str]:
    """The same of a request. A server-side apply (a `patch`) that makes something creates it."""
    found = event.get("objectRef") or {}
    if "resource" not in found:
        yield f"{event['verb']} {event['requestURI'].partition('?')[0]}"
        return
    resource = "/".join([found["resource"], *filter(None, [found.get("subresource")])])
    for verb in {event["verb"], "create" if _code(event) == 201 else event["verb"]}:
        yield f"{verb} {resource}.{found.get('apiGroup', '')}".rstrip(".")


def _code(event: Document) -> int:
    return int((event.get("responseStatus") or {}).get("code", 0))
