"""Models of KServe: which exist, which of their Pods get requests, and which a role lets one call.

A gate with `authorize` asks the API server whether a caller may `get` the model's object. So a Role
on one name is the right to call one model.

The labels are those that KServe's controllers put on Pods, alike with Knative and without
(github.com/kserve/kserve v0.20, pkg/controller/v1beta1/inferenceservice/components: `predictor.go`,
`transformer.go`, `explainer.go`; pkg/controller/v1alpha2/llmisvc/workload.go:
`GetWorkloadLabelSelector`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Literal, TypeAlias

from daypass._core.errors import DaypassError, UsageError
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.syntax import KSERVE_GROUP, is_label, is_subdomain
from daypass._core.text import did_you_mean, printable
from daypass.identity.role_risks import allows
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

Selector: TypeAlias = Mapping[str, str]
"""Labels of Pods, as in `matchLabels`."""
ModelPlural: TypeAlias = Literal["inferenceservices", "llminferenceservices"]
MODEL_KINDS: Mapping[ModelPlural, str] = {
    "inferenceservices": "InferenceService",
    "llminferenceservices": "LLMInferenceService",
}
"""The kinds of models, by their plural."""


class ModelNotFoundError(DaypassError):
    """There is no model of that name."""


def parse_model(text: str) -> tuple[str, str]:
    """Return namespace and name of a model from NAMESPACE/NAME. Raises UsageError."""
    namespace, _, name = text.partition("/")
    if not (is_label(namespace) and is_subdomain(name)):
        raise UsageError(
            f"{printable(text, 80)!r} does not name a model",
            "write NAMESPACE/NAME, such as alice/iris",
        )
    return namespace, name


def pods_of(plural: ModelPlural, model: str) -> Mapping[str, Selector]:
    """Return selectors of the Pods of a model or (EVERY_MODEL) of all, by a suffix for the name of
    an object that has the selector.
    """
    is_every = model == EVERY_MODEL
    if plural == "llminferenceservices":
        name = {} if is_every else {labels.APP_NAME: model}
        return {"llminferenceservice": {**LLM_WORKLOAD, **name}}
    if is_every:  # Istio's selectors can't ask whether a label exists
        return {each: {"component": each} for each in _COMPONENTS}
    return {"inferenceservice": {MODEL_LABEL: model}}


def find_model(
    cluster: Cluster, namespace: str, name: str, *, ignore_not_found: bool
) -> Mapping[ModelPlural, Object]:
    """Return what has this name. Raises NotFoundError (the namespace), ModelNotFoundError.

    `ignore_not_found`: it may be that nothing has it.
    """
    served = {plural: cluster.find_kind(KSERVE_GROUP, kind) for plural, kind in MODEL_KINDS.items()}
    found = {
        plural: document
        for plural, resource in served.items()
        if resource and (document := cluster.find(resource, name, namespace))
    }
    if not found and not ignore_not_found:
        cluster.get(NAMESPACES, namespace)
        names: list[str] = []
        with suppress(DaypassError):  # the user may not list them
            names = [model for _, model in list_models(cluster, namespace)]
        otherwise = "" if any(served.values()) else "is KServe installed?"
        near = did_you_mean(name, names, otherwise)
        later = "to grant it before it is created: --ignore-not-found"
        raise ModelNotFoundError(
            f"there is no model {namespace}/{name}", f"{near}\n{later}".lstrip()
        )
    return found


def list_models(cluster: Cluster, namespace: str | None) -> list[tuple[str, str]]:
    """Return the models of a namespace or (None) of all. Raises ForbiddenError."""
    found = set()
    for kind in MODEL_KINDS.values():
        if resource := cluster.find_kind(KSERVE_GROUP, kind):
            for document in cluster.list(resource, namespace, metadata_only=True):
                found.add((document["metadata"]["namespace"], name_of(document)))
    return sorted(found)


def is_on_knative(document: Object) -> bool:
    """Return whether KServe has deployed a model by Knative (`status.deploymentMode`), or is to."""
    annotations = document["metadata"].get("annotations") or {}
    mode = (document.get("status") or {}).get("deploymentMode") or annotations.get(_MODE)
    return mode in ("Knative", "Serverless")


def callable_models(rules: Iterable[Object]) -> Iterator[tuple[ModelPlural, str]]:
    """Yield the kinds and names of the models that rules let one call; EVERY_MODEL for all."""
    for rule in rules:
        for plural in MODEL_KINDS:
            if allows(rule, ["get"], [(KSERVE_GROUP, plural)]):
                for name in rule.get("resourceNames") or (EVERY_MODEL,):
                    yield plural, str(name)
