"""The Helm chart of a config as files. tests/packages reads it with the real Helm."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from daypass._core.kubernetes.objects import Object
from support.charts import CHARTS, by_key, chart_of

WORKLOADS = {"door", "gateServe", "gateWatch"}


def test_nothing_that_decides_what_is_reachable_is_a_value() -> None:
    values = yaml.safe_load(chart_of(CHARTS["example"])["values.yaml"])
    assert values.keys() == WORKLOADS
    for workload in WORKLOADS:
        assert values[workload].keys() == {
            "image", "replicas", "resources", "nodeSelector", "tolerations", "labels",
            "imagePullSecrets",
        }  # fmt: skip


def test_the_schema_is_valid_and_accepts_the_default_values() -> None:
    files = chart_of(CHARTS["example"])
    schema = json.loads(files["values.schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(files["values.yaml"]))


@pytest.mark.parametrize("name", CHARTS)
def test_it_has_all_rendered_objects_and_those_without_values_as_they_are(name: str) -> None:
    folders: dict[str, list[Object]] = {}
    for path, text in chart_of(CHARTS[name]).items():
        folder = path.partition("/")[0]
        if folder in ("objects", "pods"):
            folders.setdefault(folder, []).append(yaml.safe_load(text))
    expected = by_key(CHARTS[name].objects())
    fixed, with_values = by_key(folders["objects"]), by_key(folders.get("pods", []))
    assert {*fixed, *with_values} == expected.keys()
    assert fixed == {key: expected[key] for key in fixed}
