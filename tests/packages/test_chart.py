"""The Helm chart of a config, read by the real Helm: the same objects, values for pods alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.gobuild import built

from daypass.render.output_tree import drifts
from daypass.render.yaml import stream
from packages.test_rendered_lint import EXCEPTIONS, scored
from support.charts import (
    CHARTS,
    EXAMPLE,
    by_key,
    chart_of,
    run_helm,
    templated,
    write_chart,
)
from support.programs import DAYPASS, run
from support.rendered import only

WORKLOADS = ("door", "gateServe", "gateWatch")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart of the example."""
    return write_chart(CHARTS["example"], tmp_path / "chart")


@pytest.mark.parametrize("name", CHARTS)
def test_the_chart_gives_the_rendered_objects(name: str, tmp_path: Path) -> None:
    case = CHARTS[name]
    found = by_key(templated(write_chart(case, tmp_path / "chart")))
    expected = by_key(case.objects())
    assert found.keys() == expected.keys()
    for each, value in expected.items():
        assert found[each] == value, each


@pytest.mark.parametrize("name", CHARTS)
def test_helm_lints_the_chart_strictly(name: str, tmp_path: Path) -> None:
    done = run_helm("lint", "--strict", str(write_chart(CHARTS[name], tmp_path / "chart")))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_writes_the_chart_and_sees_when_it_drifts(tmp_path: Path) -> None:
    folder = tmp_path / "chart"

    def render(*options: str) -> int:
        words = ["render", "--config", str(EXAMPLE), "--chart", str(folder), *options]
        return run(*DAYPASS, *words).returncode

    assert render() == 0
    assert by_key(templated(folder)) == by_key(CHARTS["example"].objects())
    assert [drift.path for drift in drifts(folder, chart_of(CHARTS["example"]))] == []
    (folder / "values.yaml").write_text("# mine\n")
    assert render("--check") != 0
    for option in (("--domain", "ekf"), ("-o", "json"), ("--directory", "x"), ("--cluster",)):
        assert render(*option) == 2


def test_a_file_that_is_no_longer_part_of_the_chart_is_removed(tmp_path: Path) -> None:
    folder = write_chart(CHARTS["example"], tmp_path / "chart")
    (folder / "NOTES.md").write_text("of a user\n")
    write_chart(CHARTS["fronts"], folder)
    assert not (folder / "pods" / "gateServe").exists()
    assert (folder / "NOTES.md").exists()
    assert '"gateServe"' not in (folder / "values.schema.json").read_text()


Paths = dict[tuple[str | int, ...], Any]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Paths:
    """Every value that is no collection, by the way to it; an empty collection is one."""
    if isinstance(value, dict) and value:
        items = list(value.items())
    elif isinstance(value, list) and value:
        items = list(enumerate(value))
    else:
        return {path: value}
    return {way: leaf for step, each in items for way, leaf in leaves(each, (*path, step)).items()}


def changes(chart: Path, values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """What values change: by kind and name of an object, the new value of each changed path."""
    before, after = by_key(templated(chart)), by_key(templated(chart, values=values))
    assert before.keys() == after.keys()
    found = {}
    for each in before:
        old, new = leaves(before[each]), leaves(after[each])
        changed = {
            ".".join(map(str, path)): new.get(path)
            for path in old.keys() | new.keys()
            if old.get(path) != new.get(path)
        }
        if changed:
            found[each[1], each[3]] = changed
    return found


NAMES = {"door": "daypass-door", "gateServe": "daypass-gate", "gateWatch": "daypass-gate-watch"}
POD = "spec.template.spec"


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        ("image", "example.com/x:9", {f"{POD}.containers.0.image": "example.com/x:9"}),
        (
            "resources",
            {"limits": {"memory": "1Gi"}},
            {f"{POD}.containers.0.resources.limits.memory": "1Gi"},
        ),
        (
            "resources",
            {"requests": {"cpu": 0.2}},
            {f"{POD}.containers.0.resources.requests.cpu": 0.2},
        ),
        ("nodeSelector", {"disk": "ssd"}, {f"{POD}.nodeSelector.disk": "ssd"}),
        ("tolerations", [{"operator": "Exists"}], {f"{POD}.tolerations.0.operator": "Exists"}),
        ("imagePullSecrets", [{"name": "r"}], {f"{POD}.imagePullSecrets.0.name": "r"}),
    ],
)
def test_a_value_reaches_its_field_of_its_pods_alone(
    chart: Path, workload: str, key: str, value: Any, changed: dict[str, Any]
) -> None:
    assert changes(chart, {workload: {key: value}}) == {("Deployment", NAMES[workload]): changed}


@pytest.mark.parametrize(
    ("workload", "changed"),
    [
        *(
            (
                workload,
                {
                    ("HorizontalPodAutoscaler", NAMES[workload]): {
                        "spec.minReplicas": 7,
                        "spec.maxReplicas": 28,
                    }
                },
            )
            for workload in ("door", "gateServe")
        ),
        ("gateWatch", {("Deployment", NAMES["gateWatch"]): {"spec.replicas": 7}}),
    ],
)
def test_the_number_of_replicas_has_one_place(
    chart: Path, workload: str, changed: dict[tuple[str, str], dict[str, Any]]
) -> None:
    assert changes(chart, {workload: {"replicas": 7}}) == changed


@pytest.mark.parametrize("workload", WORKLOADS)
def test_labels_go_on_the_objects_and_pods_and_into_no_selector(chart: Path, workload: str) -> None:
    found = changes(chart, {workload: {"labels": {"team": "true", "cost": ""}}})
    assert {name for _, name in found} == {NAMES[workload]}
    on_object = {"metadata.labels.team": "true", "metadata.labels.cost": ""}
    on_pods = {f"spec.template.{path}": value for path, value in on_object.items()}
    for (kind, _), changed in found.items():
        assert changed == (on_object | on_pods if kind == "Deployment" else on_object), kind
    assert {"Deployment", "ConfigMap", "NetworkPolicy", "ServiceAccount"} <= {k for k, _ in found}


def test_a_user_can_take_away_what_the_config_has_chosen(tmp_path: Path) -> None:
    folder = write_chart(CHARTS["chosen"], tmp_path / "chart")
    nothing = {"tolerations": [], "imagePullSecrets": [], "nodeSelector": {"disk": None},
               "labels": {"example.com/team": None, "cost": None}}  # fmt: skip
    door = only(templated(folder, values={"door": nothing}), "Deployment", NAMES["door"])
    pod = door["spec"]["template"]["spec"]
    assert not {"tolerations", "imagePullSecrets", "nodeSelector"} & pod.keys()
    assert "cost" not in door["metadata"]["labels"]


REFUSED: dict[str, dict[str, Any]] = {
    "an unknown workload": {"policy": {"mode": "audit"}},
    "an unknown key": {"door": {"securityContext": {}}},
    "another command": {"door": {"args": ["--config-path", "/x"]}},
    "an image without a version": {"door": {"image": "envoy"}},
    "an image that is another field": {"door": {"image": "a:1\n        securityContext: {}"}},
    "no replicas": {"door": {"replicas": 0}},
    "replicas as text": {"door": {"replicas": "2"}},
    "too many replicas": {"gateWatch": {"replicas": 1001}},
    "memory in cores": {"gateServe": {"resources": {"limits": {"memory": "512m"}}}},
    "another resource": {"gateServe": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
    "resource claims": {"gateServe": {"resources": {"claims": []}}},
    "a label of daypass": {"door": {"labels": {"app.kubernetes.io/name": "x"}}},
    "a label of Istio": {"door": {"labels": {"sidecar.istio.io/inject": "true"}}},
    "a label that is no text": {"door": {"labels": {"team": True}}},
    "a toleration of another effect": {"door": {"tolerations": [{"key": "a", "effect": "Never"}]}},
    "a pull secret elsewhere": {"door": {"imagePullSecrets": [{"name": "a", "namespace": "b"}]}},
    "too many pull secrets": {"door": {"imagePullSecrets": [{"name": f"a{n}"} for n in range(11)]}},
    "a node selector that is no label": {"door": {"nodeSelector": {"bad key{{": "x"}}},
    "nothing": {"door": None},
    "no image": {"door": {"image": None}},
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_could_change_more_are_refused(name: str, chart: Path) -> None:
    file = chart.parent / "values.yaml"
    file.write_text(yaml.safe_dump(REFUSED[name]))
    for command in (("template", "daypass"), ("lint",)):
        done = run_helm(*command, str(chart), "--values", str(file))
        assert done.returncode != 0, name
        assert "at '" in done.stdout + done.stderr


def test_own_labels_take_precedence_even_without_the_schema(chart: Path) -> None:
    labels = {"sidecar.istio.io/inject": "true", "app.kubernetes.io/name": "x"}
    values = {workload: {"labels": labels} for workload in WORKLOADS}
    objects = templated(chart, "--skip-schema-validation", values=values)
    for value in objects:
        if value["kind"] == "Deployment":
            found = value["spec"]["template"]["metadata"]["labels"]
            assert found["sidecar.istio.io/inject"] == "false"
            assert found["app.kubernetes.io/name"] == value["metadata"]["name"]


def test_it_works_as_the_dependency_of_another_chart(chart: Path, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    chart.rename(parent / "charts" / "daypass")
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 0.1.0\n")
    found = templated(parent, values={"daypass": {"door": {"replicas": 4}}})
    assert only(found, "HorizontalPodAutoscaler", NAMES["door"])["spec"]["minReplicas"] == 4
    assert len(found) == len(CHARTS["example"].objects())


@pytest.fixture(scope="module")
def program() -> Path:
    """kube-score."""
    return built("kubescore")


@pytest.mark.parametrize("name", ["example", "chosen"])
def test_kube_score_finds_only_listed_exceptions(name: str, program: Path, tmp_path: Path) -> None:
    objects = templated(write_chart(CHARTS[name], tmp_path / "chart"))
    findings = scored(program, stream(objects))
    assert findings <= EXCEPTIONS.keys(), findings - EXCEPTIONS.keys()
