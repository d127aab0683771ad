"""What holds in a namespace of a running cluster: which policy, from where, and for a request."""

from collections.abc import Mapping
from dataclasses import dataclass

from daypass.identity.policy_apply import differs, require_policies
from daypass.identity.policy_question import Answer, Question, ask
from daypass.kube.cluster import Cluster
from daypass.kube.resources import (
    NAMESPACES,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    Object,
)
from daypass.render.policy import marks
from daypass.render.policy.objects import ACTIONS, policy_objects
from daypass.render.policy.rules import BoundObject, Request, Requester, broken_rules, mistakes
from daypass.spec.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The policy in a cluster, seen from one namespace.

    `mode`: audit, warn, deny, or None where no binding makes it count. `drift`: the fields that are
    not as the config says; None where there is no config to compare with. `overrides`: what
    the Namespace says otherwise.
    """

    is_installed: bool
    mode: str | None
    drift: tuple[str, ...] | None
    is_held: bool
    overrides: Mapping[str, str]

    @property
    def is_in_force(self) -> bool:
        """Whether there is a policy that counts, in some mode."""
        return self.is_installed and self.mode is not None

    @property
    def findings(self) -> list[str]:
        """What keeps the policy from being in force here as written."""
        found = {
            "the policy is not installed": not self.is_installed,
            "nothing binds the policy to namespaces": self.mode is None,
            f"the Namespace lacks the label {marks.LABEL}={marks.ENFORCED}": not self.is_held,
            **{f"{each} is not as in the config": True for each in self.drift or ()},
            **{f"annotation {each} is a mistake": True for each in mistakes(self.overrides)},
        }
        return [words for words, holds in found.items() if holds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The state, the cluster's answer, and the rules that the request breaks by the config (None
    without one): in the modes audit and warn it is allowed all the same."""

    state: State
    question: Question
    answer: Answer
    broken: tuple[str, ...] | None


def look(cluster: Cluster, policy: Policy | None, namespace: str) -> State:
    """The state in a namespace. Raises DaypassError where the cluster has no such policies."""
    require_policies(cluster)
    found = cluster.find(VALIDATING_ADMISSION_POLICIES, marks.NAME)
    binding = cluster.find(VALIDATING_ADMISSION_POLICY_BINDINGS, marks.NAME)
    metadata = cluster.get(NAMESPACES, namespace)["metadata"]
    annotations = metadata.get("annotations") or {}
    return State(
        is_installed=found is not None,
        mode=_mode(binding) if binding else None,
        drift=None if policy is None else tuple(_drift(policy, found, binding)),
        is_held=(metadata.get("labels") or {}).get(marks.LABEL) == marks.ENFORCED,
        overrides={
            key: value for key, value in annotations.items() if key.startswith(marks.OVERRIDES)
        },
    )


def check(cluster: Cluster, policy: Policy | None, question: Question) -> Checked:
    """The state of the question's namespace, and its answer. No token is made. Raises as `ask`."""
    state = look(cluster, policy, question.namespace)
    broken = None
    if policy is not None:
        requester = Requester(user=question.user or "")
        request = Request(
            requester=requester,
            service_account=question.service_account,
            lifetime_seconds=question.lifetime_seconds,
            audiences=question.audiences,
            bound=BoundObject(name=question.secret) if question.secret else None,
            annotations=state.overrides,
        )
        broken = tuple(broken_rules(policy, request))
    return Checked(state=state, question=question, answer=ask(cluster, question), broken=broken)


def _mode(binding: Object) -> str | None:
    actions = sorted(binding["spec"].get("validationActions", ()))
    return next((mode for mode, wanted in ACTIONS.items() if wanted == actions), None)


def _drift(policy: Policy, *found: Object | None) -> list[str]:
    return [
        f"{document['kind']} spec.{field}"
        for document, there in zip(policy_objects(policy), found, strict=True)
        if there is not None
        for field in differs(document, there)
    ]
