"""Who may pass a gate, and access by model."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from daypass._core.kubernetes.syntax import LABEL, SUBDOMAIN
from daypass.config.errors import fault, shown
from daypass.config.hosts import GuardedHost, PathForm
from daypass.config.opens import Added
from daypass.config.types import Label, Section, matching, text_schema, unique
from daypass.rules.decision import Allow
from daypass.rules.models import LLM, ModelRule
from daypass.rules.patterns import HostPattern, PathPattern

ModelResource: TypeAlias = Literal[
    "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
]


ACCOUNT, VERB = f"{LABEL}/{SUBDOMAIN}", "[a-z]+"
account = matching(ACCOUNT, "an identity", "write NAMESPACE/NAME", 317)
verb = matching(VERB, "a verb", "write one such as get", 30)
Account = Annotated[str, AfterValidator(account), text_schema(ACCOUNT, 317)]
Verb = Annotated[str, AfterValidator(verb), text_schema(VERB, 30)]


class AllowedCallers(Section):
    """Who may pass a gate at all: either list is enough."""

    namespaces: Added[Annotated[tuple[Label, ...], AfterValidator(unique)]] = Field(
        default_factory=tuple, max_length=1000, examples=[["alice"]]
    )
    """Namespaces whose identities may."""

    identities: Added[Annotated[tuple[Account, ...], AfterValidator(unique)]] = Field(
        default_factory=tuple, max_length=1000, examples=[["alice/bot"]]
    )
    """Single identities, as NAMESPACE/NAME."""

    @property
    def rule(self) -> Allow:
        """The same for the decision."""
        return Allow(namespaces=frozenset(self.namespaces), identities=frozenset(self.identities))

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        if not self.namespaces and not self.identities:
            raise fault("it names nobody", "add namespaces or identities, or leave allow out")
        return self


class Authorize(Section):
    """Which requests are for a model, and what its callers have to be allowed in RBAC."""

    host: GuardedHost = Field(examples=["{name}.{namespace}.example.com"])
    """One of the gate's hosts, as it is written there."""

    path: PathForm | None = Field(default=None, examples=["/serving/{namespace}/{name}/"])
    """Paths that name a model, if the host names none."""

    resource: ModelResource = Field(examples=["inferenceservices.serving.kserve.io"])
    """The resource that the model is."""

    verb: Verb = Field(default="get", examples=["get"])
    """What a caller has to be allowed to do with it."""

    @property
    def rule(self) -> ModelRule:
        """The same for the decision."""
        return ModelRule(
            host=HostPattern.parse(self.host),
            path=None if self.path is None else PathPattern.parse(self.path),
            resource=self.resource,
            verb=self.verb,
        )


def check_authorize(rule: Authorize, hosts: tuple[str, ...], *at: str | int) -> None:
    """Raise a fault unless a rule is for one of these hosts, and names a model in a namespace.

    `at`: leads to the rule.
    """
    if rule.host not in hosts:
        raise fault(
            f"the gate does not guard {shown(rule.host)}",
            "add it to hosts, or write it as it is written there",
            at=(*at, "host"),
        )
    place = rule.rule
    of_host = place.host.names_a_model
    if of_host and place.path is not None:
        raise fault("the host names a model already", "leave path out", at=(*at, "path"))
    if not (place.path or place.host).names_a_model:
        raise fault(
            "it names no model and its namespace",
            "write {name} and {namespace} in host or in path",
            at=(*at, "host" if place.path is None else "path"),
        )
    if of_host and rule.resource == LLM:
        raise fault(
            "an LLMInferenceService has no host of its own",
            "write path: /{namespace}/{name}/ and the gateway's host",
            at=(*at, "resource"),
        )
