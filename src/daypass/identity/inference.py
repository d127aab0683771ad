"""Models of KServe: which exist, which of their Pods get requests, and which a role lets one call.

A gate with `authorize` asks the API server whether a caller may `get` the model's object. So a Role
on one name is the right to call one model.

The labels are those that KServe's controllers put on Pods, alike with Knative and without
(github.com/kserve/kserve v0.20, pkg/controller/v1beta1/inferenceservice/components: `predictor.go`,
`transformer.go`, `explainer.go`; pkg/controller/v1alpha2/llmisvc/workload.go:
`GetWorkloadLabelSelector`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from daypass._core import labels
from daypass._core.errors import DaypassError, UsageError
from daypass._core.k8s_names import KSERVE_GROUP, is_label, is_subdomain
from daypass._core.objects import Object
from daypass._core.text import did_you_mean, printable
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES

EVERY_MODEL = "*"
"""In place of a model's name: every model of a namespace."""
MODEL_LABEL = f"{KSERVE_GROUP}/inferenceservice"
"""On the Pods of an InferenceService: its name."""
LLM_WORKLOAD = {labels.PART_OF: "llminferenceservice", "kserve.io/component": "workload"}
"""The Pods of an LLMInferenceService that answer requests, and not its scheduler or tokenizer."""
_MODE = f"{KSERVE_GROUP}/deploymentMode"
_COMPONENTS = ("predictor", "transformer", "explainer")

Selector = Mapping[str, str]
"""Labels of Pods, as in `matchLabels`."""


class ModelNotFoundError(DaypassError):
    """There is no model of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKind:
    """A kind of model. `pods_of`: selectors of the Pods of a model, or of every model, by a suffix
    for the name of an object that has the selector.
    """

    kind: str
    plural: Literal["inferenceservices", "llminferenceservices"]
    pods_of: Callable[[str], Mapping[str, Selector]]


def _inference_service_pods(model: str) -> Mapping[str, Selector]:
    if model == EVERY_MODEL:  # Istio's selectors can't ask whether a label exists
        return {each: {"component": each} for each in _COMPONENTS}
    return {"inferenceservice": {MODEL_LABEL: model}}


def _llm_pods(model: str) -> Mapping[str, Selector]:
    name = {} if model == EVERY_MODEL else {labels.APP_NAME: model}
    return {"llminferenceservice": {**LLM_WORKLOAD, **name}}


MODEL_KINDS = (
    ModelKind(kind="InferenceService", plural="inferenceservices", pods_of=_inference_service_pods),
    ModelKind(kind="LLMInferenceService", plural="llminferenceservices", pods_of=_llm_pods),
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ModelName:
    """Namespace and name of a model. Use `parse` for user input."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read NAMESPACE/NAME. Raises UsageError."""
        namespace, _, name = text.partition("/")
        if not (is_label(namespace) and is_subdomain(name)):
            raise UsageError(
                f"{printable(text, 80)!r} does not name a model",
                "write NAMESPACE/NAME, such as alice/iris",
            )
        return cls(namespace=namespace, name=name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """The kinds that have a model of a name. `on_knative`: Knative runs one, so its Pods get
    requests from Knative's own gateway and activator.
    """

    kinds: tuple[ModelKind, ...]
    on_knative: bool


def find_model(cluster: Cluster, name: ModelName, *, ignore_not_found: bool) -> FoundModel:
    """Return what has this name. Raises NotFoundError (the namespace), ModelNotFoundError.

    `ignore_not_found`: it may be that nothing has it.
    """
    served = {kind: cluster.find_kind(KSERVE_GROUP, kind.kind) for kind in MODEL_KINDS}
    found = {
        kind: document
        for kind, resource in served.items()
        if resource and (document := cluster.find(resource, name.name, name.namespace))
    }
    if not found and not ignore_not_found:
        cluster.get(NAMESPACES, name.namespace)
        names: list[str] = []
        with suppress(DaypassError):  # the user may not list them
            names = [model.name for model in list_models(cluster, name.namespace)]
        otherwise = "" if any(served.values()) else "is KServe installed?"
        near = did_you_mean(name.name, names, otherwise)
        later = "to grant it before it is created: --ignore-not-found"
        raise ModelNotFoundError(f"there is no model {name}", f"{near}\n{later}".lstrip())
    on_knative = any(map(_is_on_knative, found.values()))
    return FoundModel(kinds=tuple(found), on_knative=on_knative)


def list_models(cluster: Cluster, namespace: str | None) -> list[ModelName]:
    """Return the models of a namespace or (None) of all. Raises ForbiddenError."""
    found = set()
    for kind in MODEL_KINDS:
        if resource := cluster.find_kind(KSERVE_GROUP, kind.kind):
            for document in cluster.list(resource, namespace, metadata_only=True):
                metadata = document["metadata"]
                found.add(ModelName(namespace=metadata["namespace"], name=metadata["name"]))
    return sorted(found)


def _is_on_knative(document: Object) -> bool:
    """Return whether KServe has deployed a model by Knative (`status.deploymentMode`), or is to."""
    annotations = document["metadata"].get("annotations") or {}
    mode = (document.get("status") or {}).get("deploymentMode") or annotations.get(_MODE)
    return mode in ("Knative", "Serverless")


def call_rule(model: str, kinds: Iterable[ModelKind]) -> Object:
    """Return the rule of a Role that lets its subjects call a model, or EVERY_MODEL."""
    rule: Object = {
        "apiGroups": [KSERVE_GROUP],
        "resources": [kind.plural for kind in kinds],
        "verbs": ["get"],
    }
    return rule if model == EVERY_MODEL else {**rule, "resourceNames": [model]}


def callable_models(rules: Iterable[Object]) -> Iterator[tuple[ModelKind, str]]:
    """Yield the kinds and names of the models that rules let one call; EVERY_MODEL for all."""
    for rule in rules:
        if {"get", "*"}.isdisjoint(rule.get("verbs") or ()):
            continue
        if {KSERVE_GROUP, "*"}.isdisjoint(rule.get("apiGroups") or ()):
            continue
        for kind in MODEL_KINDS:
            if not {kind.plural, "*"}.isdisjoint(rule.get("resources") or ()):
                for name in rule.get("resourceNames") or (EVERY_MODEL,):
                    yield kind, str(name)
