"""The inventory as text, and which objects an entry matches."""

from __future__ import annotations

import re
from typing import Any

import pytest

from daypass._core.errors import DaypassError
from daypass._core.kubernetes.objects import Object
from daypass.deploy.cluster_state import INVENTORY, AppliedObject, read_inventories
from daypass.deploy.objects import ObjectRef
from daypass.deploy.remove import is_applied_object
from support.embedded import EmbeddedCluster
from support.manifest_cases import CASES
from support.messages import raises
from support.objects import config_map

OBJECTS = [value for case in CASES.values() for value in case.objects()]
APPLIED = [
    {"manager": "daypass", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:a": {}}}
]


def live(**metadata: Any) -> Object:
    return {"metadata": {"uid": "u", "managedFields": APPLIED, **metadata}}


def test_the_key_of_every_rendered_object_is_valid_and_can_be_parsed() -> None:
    for ref in map(ObjectRef.of, OBJECTS):
        assert ObjectRef.parse(ref.key) == ref
        assert re.fullmatch("[-._a-zA-Z0-9]{1,253}", ref.key)


@pytest.mark.parametrize(
    ("entry", "exposed"),
    [('{"apiVersion": "v1"}', ""), ("[]", "{}"), ("{}", "{}")],
    ids=["exposed", "entry is a list", "entry without a version"],
)
def test_an_inventory_that_was_edited_is_refused(entry: str, exposed: str) -> None:
    cluster = EmbeddedCluster().cluster
    document = config_map(INVENTORY, "default", {"default_a__Secret": entry})
    document["metadata"]["annotations"] = {"daypass.dev/exposed": exposed}
    cluster.create(document)
    with raises(DaypassError, match="ConfigMap default/daypass-inventory"):
        read_inventories(cluster, ["default"])


def made_for(name: str) -> Object:
    return live(annotations={"cert-manager.io/certificate-name": name}, managedFields=[])


OF_CERT_MANAGER = AppliedObject(api_version="v1", certificate="daypass-door")


@pytest.mark.parametrize(
    ("entry", "there", "expected"),
    [
        (AppliedObject(api_version="v1", uid="u"), live(), True),
        (AppliedObject(api_version="v1", uid="other"), live(), False),
        (AppliedObject(api_version="v1", uid="u"), live(managedFields=[]), False),
        (AppliedObject(api_version="v1"), live(managedFields=[]), False),
        (OF_CERT_MANAGER, made_for("daypass-door"), True),
        (OF_CERT_MANAGER, made_for("other"), False),
        (AppliedObject(api_version="v1", certificate="other"), made_for("other"), False),
        (OF_CERT_MANAGER, live(), False),
    ],
)
def test_an_entry_matches_only_objects_that_daypass_applied(
    entry: AppliedObject, there: Object, expected: bool
) -> None:
    assert is_applied_object(entry, there) is expected
