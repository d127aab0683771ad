"""Models of a host, read back from it: whatever KServe and Knative publish at a host needs access.

The oracle goes the other way: it makes the hosts of each model as the two do.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from daypass.rules.decision import RefusedError, check_model
from daypass.rules.models import ModelRule, needed_accesses
from daypass.rules.patterns import HostPattern, Model
from unit.rules.existing_models import ISVC, LLM, names_in, rule

TEMPLATES = ("{name}.{namespace}.example.com", "{name}-{namespace}.example.com")
API = "api.models.example.org"
TAGS = ("", "prev-", "a-")
COMPONENTS = ("predictor", "transformer", "explainer")


def hosts_of(model: Model, template: str) -> Iterator[str]:
    """KServe's and Knative's hosts of an InferenceService."""

    def host(name: str) -> str:
        return template.replace("{name}", name).replace("{namespace}", model.namespace)

    yield host(model.name)
    for component in COMPONENTS:
        for part in ("", "-a") if component == "predictor" else ("",):
            for end in ("", "-default", "-canary", "-00001", "-default-00001"):
                url = host(f"{model.name}{part}-{component}{end}")
                yield url
                # getServiceHost in KServe's ingress_reconciler.go; for a predictor with a name of
                # its own, the docstring of `owners` says what is not read.
                if component != "explainer" and not part and end in ("", "-default"):
                    removed = f"-{component}-default" if "-default" in url else f"-{component}"
                    yield url.replace(removed, "", 1)
                for tag in TAGS:  # Knative's DefaultTagTemplate
                    yield host(f"{tag}{model.name}{part}-{component}{end}")


namespaces = st.sampled_from(["a", "b", "a-b", "b-a", "default", "default-a", "predictor"])
names = st.sampled_from([
    "a", "b", "a-b", "a-predictor", "a-predictor-b", "ab", "a-predictorb", "a-default", "predictor",
    "a-transformer-b", "a-predictor-default-b",
])  # fmt: skip
models = st.builds(Model, st.just(ISVC), namespaces, names)


@given(
    existing=st.sets(models, min_size=1, max_size=4),
    denied=st.sets(models, max_size=4),
    template=st.sampled_from(TEMPLATES),
    data=st.data(),
)
@example(
    existing={Model(ISVC, "a", "b"), Model(ISVC, "default-a", "b")},
    denied={Model(ISVC, "default-a", "b")},
    template=TEMPLATES[1],
    data=None,
)
def test_whatever_is_published_at_a_host_needs_access(
    existing: set[Model], denied: set[Model], template: str, data: st.DataObject | None
) -> None:
    pattern = HostPattern.parse(template)
    published = {model: set(hosts_of(model, template)) for model in existing}
    hosts = sorted(set().union(*published.values()))
    for host in [data.draw(st.sampled_from(hosts))] if data is not None else hosts:
        served = {model for model, its in published.items() if host in its}
        if not pattern.matches(host):  # without a namespace, such as a.example.com
            assert pattern.is_near(host)
            continue
        passes = may_pass((rule(template),), host, existing, denied)
        if served & denied:
            assert not passes
        if not existing & denied:
            assert passes


def may_pass(
    rules: tuple[ModelRule, ...],
    host: str,
    existing: set[Model],
    denied: set[Model],
    path: str = "/v1",
) -> bool:
    needed = needed_accesses(rules, host, path, names_in(existing))
    try:
        if needed is not None:
            check_model(needed, lambda access: access.model not in denied)
    except RefusedError:
        return False
    return True


RULES = (
    rule(TEMPLATES[1]),
    rule(API, "/serving/{namespace}/{name}/"),
    rule(API, "/{namespace}/{name}/", LLM),
)
of_llms = st.sampled_from(["a", "serving", "publishers"])
llms = st.builds(Model, st.just(LLM), of_llms, st.sampled_from(["a", "b"]))


@given(
    existing=st.sets(models | llms, max_size=5),
    denied=st.sets(models | llms, max_size=5),
    host=st.sampled_from([API, "a-b.example.com", "b-a.example.com", "other.example.com"]),
    segments=st.lists(st.sampled_from(["serving", "a", "b", "publishers", "v1"]), max_size=4),
)
@example(existing={Model(LLM, "publishers", "a")}, denied=set(), host=API,
         segments=["publishers", "a", "models", "b"])  # fmt: skip
def test_a_path_that_is_a_models_needs_access_on_every_host(
    existing: set[Model], denied: set[Model], host: str, segments: list[str]
) -> None:
    path = "/" + "/".join(segments)
    passes = may_pass(RULES, host, existing, denied, path)
    two = segments[:2]
    llm = Model(LLM, *two) if len(two) == 2 else None
    if segments[:1] == ["publishers"]:  # the other path of an LLMInferenceService
        assert not passes
        return
    if llm in existing & denied:  # KServe's route of an LLMInferenceService names no host
        assert not passes
    if host == API and segments[:1] == ["serving"] and len(segments) > 2:
        inference = Model(ISVC, *segments[1:3])
        assert not passes or inference not in existing & denied
        assert passes == (
            bool(existing & {inference, llm}) and not existing & denied & {inference, llm}
        )
    elif host == API:
        assert passes == (llm in existing - denied)
    if host == "other.example.com":
        assert passes == (llm not in existing & denied)
