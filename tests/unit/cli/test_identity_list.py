"""The table and the JSON document of identities."""

from __future__ import annotations

import re

from daypass._core.kubernetes import labels
from daypass.cli.identity.list import table
from daypass.identity.health import examine
from support.timing import FakeClock
from unit.identity.inventories import BOT, ListedObjects, grant


def test_the_table_fits_80_columns_with_usual_names_and_wide_has_the_rest() -> None:
    listed = ListedObjects()
    annotations = listed.account["metadata"]["annotations"]
    annotations[labels.DOOR] = "https://kubeflow.example.com/kubernetes"
    annotations[labels.DEADLINE] = "2027-06-30T12:00:00Z"
    for name in ("bob", "carol", "dave"):
        listed.lists["bindings"].append(grant(BOT, name, "kubeflow-view")[0])
    examined = examine(listed.objects(), FakeClock())
    narrow = table(examined, FakeClock())
    assert max(map(len, narrow.splitlines())) <= 80
    assert "2027-06-30 " in narrow
    wide = table(examined, FakeClock(), wide=True)
    assert "https://kubeflow.example.com/kubernetes" in wide
    assert "2027-06-30T12:00:00Z" in wide


def test_the_table_has_no_control_characters() -> None:
    listed = ListedObjects()
    listed.account["metadata"]["annotations"][labels.DOOR] = "https://door\x1b[2J\n.test"
    for name in ("a", "b", "c"):
        listed.lists["bindings"].append(grant(BOT, name, "kubeflow-view")[0])
    clock = FakeClock()
    examined = examine(listed.objects(), clock)
    narrow = table(examined, clock)
    heading, row = (re.split(" {2,}", line) for line in narrow.splitlines())
    assert dict(zip(heading, row, strict=True)) == {
        "NAMESPACE": "team", "NAME": "bot", "GRANTS": "a=view, and 3 more", "AGE": "5d",
        "LAST USED": "2027-01-14", "DEADLINE": "-", "HEALTH": "half-grant",
    }  # fmt: skip
    wide = table(examined, clock, wide=True)
    assert "https://door [2J .test" in wide
    assert "a=view, alice=view, b=view, c=view" in wide
    assert len(examined[0].findings) == 3
    assert all(finding.sentence in wide for finding in examined[0].findings)
