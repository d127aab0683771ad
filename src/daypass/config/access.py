"""Who may pass a gate, and access by model."""

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from daypass._core.k8s_names import LABEL, SUBDOMAIN, is_label
from daypass.config.errors import fault, shown
from daypass.config.hosts import PathForm, PublicOrEveryHost
from daypass.config.types import Label, Section, subdomain, text_schema, unique
from daypass.rules.decision import Allow
from daypass.rules.models import LLM, ModelRule
from daypass.rules.patterns import EVERY_HOST, HostPattern, PathPattern

ModelResource: TypeAlias = Literal[
    "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
]


def account(text: str) -> str:
    """Return a ServiceAccount as NAMESPACE/NAME."""
    namespace, slash, name = text.partition("/")
    if not slash or not is_label(namespace):
        raise fault(f"{shown(text)} is no identity", "write NAMESPACE/NAME")
    subdomain(name)
    return text


def verb(text: str) -> str:
    """Return a verb of Kubernetes' RBAC."""
    if not re.fullmatch("[a-z]{1,30}", text):
        raise fault(f"{shown(text)} is no verb", "write one such as get")
    return text


Account = Annotated[str, AfterValidator(account), text_schema(rf"{LABEL}/{SUBDOMAIN}", 317)]
Verb = Annotated[str, AfterValidator(verb), text_schema("[a-z]+", 30)]


class AllowedCallers(Section):
    """Who may pass a gate at all: either list is enough."""

    namespaces: Annotated[tuple[Label, ...], AfterValidator(unique)] = Field(
        default_factory=tuple, max_length=1000, examples=[["alice"]]
    )
    """Namespaces whose identities may."""

    identities: Annotated[tuple[Account, ...], AfterValidator(unique)] = Field(
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

    host: PublicOrEveryHost = Field(examples=["{name}.{namespace}.example.com"])
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
    of_host = HostPattern.parse(rule.host).names_a_model
    of_path = rule.path is not None and PathPattern.parse(rule.path).names_a_model
    if of_host and rule.path is not None:
        raise fault("the host names a model already", "leave path out", at=(*at, "path"))
    if not of_host and not of_path:
        where = ("host",) if rule.path is None else ("path",)
        raise fault(
            "it names no model and its namespace",
            "write {name} and {namespace} in host or in path",
            at=(*at, *where),
        )
    if of_host and rule.resource == LLM:
        raise fault(
            "an LLMInferenceService has no host of its own",
            "write path: /{namespace}/{name}/ and the gateway's host",
            at=(*at, "resource"),
        )
    if rule.host == EVERY_HOST and not of_path:
        raise fault("every host names no model", "write path", at=(*at, "host"))
