"""What an administrator may choose about the pods of door and gate, in Kubernetes' own form.

What daypass sets itself, such as security contexts, selectors and its own labels, has no key here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from daypass._core.kubernetes.syntax import LABEL_KEY, LABEL_VALUE
from daypass.config.errors import expected, fault, shown
from daypass.config.opens import Harmless
from daypass.config.types import (
    AS_DICT,
    LIMIT_CHARACTERS,
    READ_ONLY,
    LabelName,
    Section,
    Spelled,
    Subdomain,
    label_name,
    label_value,
    unique,
)

_BYTES: dict[str, Decimal] = {
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGT", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGT", start=1)},
}
_CORES = {"": Decimal(1), "m": Decimal("0.001")}
_QUANTITY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)([A-Za-z]{0,2})")


def amount(quantity: str) -> Decimal:
    """Return a checked quantity as a number of cores or bytes."""
    match = _QUANTITY.fullmatch(quantity)
    assert match is not None, quantity  # noqa: S101 - every quantity in a config has been checked
    return Decimal(match[1]) * (_BYTES | _CORES)[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantity(Spelled):
    """Marks a text as a Kubernetes quantity within bounds; the file may write a number, too."""

    units: Mapping[str, Decimal]
    lowest: str
    highest: str

    def read(self, value: object) -> str:
        """Return the quantity as text. Raises a fault."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise expected(f"a quantity such as {self.lowest}")
        text = str(value)
        match = _QUANTITY.fullmatch(text)
        if match is None or match[2] not in self.units:
            raise fault(
                f"{shown(text)} is no amount of this resource", f"write one such as {self.lowest}"
            )
        if not amount(self.lowest) <= amount(text) <= amount(self.highest):
            raise fault(f"{shown(text)} is not within {self.lowest} to {self.highest}")
        return text

    def __get_pydantic_json_schema__(self, *_: object) -> JsonSchemaValue:
        units = "|".join(filter(None, self.units))
        pattern = rf"^[0-9]{{1,12}}(\.[0-9]{{1,3}})?({units})?$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}]}


Cores: TypeAlias = Annotated[str, Quantity(units=_CORES, lowest="1m", highest="1024")]
Bytes: TypeAlias = Annotated[str, Quantity(units=_BYTES, lowest="1Mi", highest="16Ti")]


class Amounts(Section):
    """Amounts for each container. Default for what is left out: what daypass has measured."""

    cpu: Cores | None = Field(default=None, examples=["500m"])
    """Cores of CPU, such as 2, 0.5 or 500m."""

    memory: Bytes | None = Field(default=None, examples=["256Mi"])
    """Bytes of memory, such as 256Mi."""

    ephemeral_storage: Bytes | None = Field(
        default=None, alias="ephemeral-storage", examples=["64Mi"]
    )
    """Bytes on the node's disk, such as 64Mi."""


class Resources(Section):
    """What each container requests, and what it may use."""

    requests: Amounts = Field(default_factory=Amounts, examples=[{"cpu": "100m"}])
    """What the scheduler reserves. A default is lowered to a smaller limit."""

    limits: Amounts = Field(default_factory=Amounts, examples=[{"memory": "512Mi"}])
    """What a container may use at most. A default is raised to a larger request."""

    @field_validator("limits")
    @classmethod
    def _no_request_exceeds_its_limit(cls, limits: Amounts, info: ValidationInfo) -> Amounts:
        requests = amounts(info.data.get("requests"))
        for name, limit in amounts(limits).items():
            if name in requests and amount(requests[name]) > amount(limit):
                raise fault(f"{limit} is less than the request, {requests[name]}", at=(name,))
        return limits


def amounts(section: Amounts | None) -> dict[str, str]:
    """Return the amounts that are chosen, by Kubernetes' names of the resources."""
    return {} if section is None else section.model_dump(exclude_none=True)


Operator: TypeAlias = Literal["Equal", "Exists"]
Effect: TypeAlias = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

# Those of a mesh and of Azure add a sidecar, or a ServiceAccount's token, to the pods.
_OWN_LABELS = (
    r"^([^/]*\.)?"
    r"(daypass\.dev|istio\.io|kuma\.io|azure\.workload\.identity|kubernetes\.io|k8s\.io)/"
)


def own_label_name(text: str) -> str:
    """Return the key of a label that has no meaning for daypass, a mesh or Kubernetes."""
    if re.match(_OWN_LABELS, text):
        raise fault(
            f"{shown(text)} has a meaning for daypass, a mesh or Kubernetes",
            "use a prefix of your own, such as example.com/team, or none",
        )
    return label_name(text)


def empty_or_label_value(text: str) -> str:
    """Return the value of a label, which may be empty."""
    return text and label_value(text)


OwnLabelName = Annotated[
    str,
    AfterValidator(own_label_name),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": LIMIT_CHARACTERS,
            "allOf": [{"pattern": f"^({LABEL_KEY})$"}, {"not": {"pattern": _OWN_LABELS}}],
        }
    ),
]
EmptyOrLabelValue = Annotated[
    str,
    AfterValidator(empty_or_label_value),
    WithJsonSchema({"type": "string", "maxLength": 63, "pattern": f"^({LABEL_VALUE})?$"}),
]


class Toleration(Section):
    """A taint of nodes that the pods tolerate."""

    key: LabelName | None = Field(default=None, examples=["dedicated"])
    """Key of the taint. Default, with the operator Exists: every taint."""

    operator: Operator = "Equal"
    """Equal: the taint has `value`. Exists: it has any value."""

    value: EmptyOrLabelValue | None = Field(default=None, examples=["ingress"])
    """Value of the taint."""

    effect: Effect | None = None
    """Effect of the taint. Default: every effect."""

    toleration_seconds: int | None = Field(
        default=None, ge=0, le=2**31, alias="tolerationSeconds", examples=[300]
    )
    """NoExecute: how many seconds pods stay on a node with the taint. Default: forever."""

    @model_validator(mode="after")
    def _kubernetes_accepts_it(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise fault("the operator Exists has no value", "leave value out", at=("value",))
        if self.operator == "Equal" and self.key is None:
            raise fault("the operator Equal needs a key", "add key, or write operator: Exists")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise fault(
                "tolerationSeconds is for the effect NoExecute",
                "write effect: NoExecute",
                at=("tolerationSeconds",),
            )
        return self


class PullSecret(Section):
    """A Secret with the credentials of a registry."""

    name: Subdomain = Field(examples=["registry"])
    """Name of the Secret, in the door's namespace. It must exist."""

    def __str__(self) -> str:
        return self.name


class PodSettings(Section):
    """What may be chosen about pods. Its keys follow those of the other base of a section."""

    resources: Harmless[Resources | None] = Field(
        default=None, examples=[{"limits": {"memory": "1Gi"}}]
    )
    """Resources of each container."""

    node_selector: Harmless[
        Annotated[Mapping[LabelName, EmptyOrLabelValue] | None, READ_ONLY, AS_DICT]
    ] = Field(default=None, max_length=20, examples=[{"kubernetes.io/arch": "amd64"}])
    """Labels of the nodes on which the pods may run."""

    tolerations: Harmless[tuple[Toleration, ...] | None] = Field(
        default=None, max_length=20, examples=[[{"key": "dedicated", "operator": "Exists"}]]
    )
    """Taints of nodes on which the pods may run nevertheless."""

    labels: Harmless[
        Annotated[Mapping[OwnLabelName, EmptyOrLabelValue] | None, READ_ONLY, AS_DICT]
    ] = Field(default=None, max_length=20, examples=[{"example.com/team": "platform"}])
    """Labels for the Deployment, its pods and the objects that go with it, in addition to
    daypass's own. No selector has them."""

    image_pull_secrets: Harmless[
        Annotated[tuple[PullSecret, ...], Field(max_length=10), AfterValidator(unique)] | None
    ] = Field(default=None, examples=[[{"name": "registry"}]])
    """Secrets with credentials for the registry of the image."""
