"""Whether Envoy Gateway has taken up the policies of the gate, and what others take out of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from daypass._core.hints import kubectl
from daypass._core.status import printable
from daypass.deploy.identifier import Identifier
from daypass.deploy.rollout import Patience, Say
from daypass.deploy.target import Target
from daypass.kube.resources import Object

GROUP = "gateway.envoyproxy.io"
_LISTED = re.compile(r"\[([^\]]*)\]")


def wait_for_policies(
    target: Target, policies: Collection[Identifier], patience: Patience, say: Say
) -> list[str]:
    """Wait until each SecurityPolicy is accepted; what is not as it should be then, a line each.

    Of other kinds it is told. Raises NotReadyError: as long as one is not accepted, whoever comes
    is let in.
    """
    own = {policy.where for policy in policies}
    troubles = []
    for policy in sorted(policies):
        hint = kubectl("describe", policy.kind.lower(), policy.name, "-n", policy.namespace)
        if policy.kind == "SecurityPolicy":
            found = patience.wait(lambda: _accepted(target, policy), say, hint)  # noqa: B023 - now
            if outside := [name for name in replaced(found) if name not in own]:
                troubles.append(
                    f"{policy}: other policies replace it for {', '.join(outside)}, which nobody"
                    " guards: let them say mergeType: StrategicMerge"
                )
        elif refusal := refused(target.find(policy) or {}):
            troubles.append(f"{policy} is not in force: {refusal}")
    return troubles


def _accepted(target: Target, policy: Identifier) -> Object | str:
    document = target.find(policy) or {}
    if refusal := refused(document):
        return f"{policy}: {refusal}"
    if not list(_conditions(document, "Accepted")):
        return f"{policy}: no Envoy Gateway has looked at it yet"
    return document


def refused(document: Object) -> str:
    """Why a policy is not accepted, in the words of its status; empty if nobody says so."""
    said = (each for each in _conditions(document, "Accepted") if each.get("status") != "True")
    return next((printable(str(each.get("message"))) for each in said), "")


def replaced(document: Object) -> list[str]:
    """`NAMESPACE/NAME` of the routes (and listeners) for which other policies replace one.

    The status lists them in words: `... for these routes: [team/a team/b]`.
    """
    said = [each for each in _conditions(document, "Overridden") if each.get("status") == "True"]
    listed = (found for each in said for found in _LISTED.findall(str(each.get("message"))))
    return sorted({printable(name) for names in listed for name in names.split()})


def _conditions(document: Object, kind: str) -> Iterator[Object]:
    """Those that are said of the document as it is now, by whatever controller."""
    generation = (document.get("metadata") or {}).get("generation")
    for ancestor in (document.get("status") or {}).get("ancestors") or ():
        for condition in ancestor.get("conditions") or ():
            current = condition.get("observedGeneration", generation) == generation
            if current and condition.get("type") == kind:
                yield condition
