"""What Envoy reads of what is published, where a file cannot be written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daypass._core.errors import DaypassError
from daypass.config import Address
from daypass.local.envoy import EnvoyInstance
from daypass.local.settings import EnvoyInstanceSettings
from daypass.render.envoy.bootstrap import published_file
from daypass.rules.published import LOCAL_SHARDS, shard_name, shard_of
from golden.door_setting import GATE, SETTINGS
from support.publishing import published

FREE = Address(host="127.0.0.1", port=0)
GONE, NEW = (f"{digit}0000000-0000-4000-8000-000000000000" for digit in "35")


class WithoutEnvoy(EnvoyInstance):
    """The files alone: no Envoy starts, and none says what it has read."""

    def _start(self) -> None:
        def stats(pattern: str) -> dict[str, str]:
            raise DaypassError(f"nobody knows {pattern}")

        self.process = cast("Any", SimpleNamespace(stats=stats))


def test_after_a_file_that_could_not_be_written_no_other_keeps_what_is_gone(tmp_path: Path) -> None:
    settings = EnvoyInstanceSettings(
        door=replace(SETTINGS, listen=FREE), gate=replace(GATE, listen=FREE)
    )
    files = WithoutEnvoy(tmp_path, settings, published=published([], shards=LOCAL_SHARDS))
    of_gone, of_new = (
        tmp_path / published_file(shard_name(shard_of(uid, LOCAL_SHARDS))) for uid in (GONE, NEW)
    )
    of_new.unlink()
    of_new.mkdir()
    with pytest.raises(IsADirectoryError):
        files.publish(published([GONE, NEW], shards=LOCAL_SHARDS))
    assert GONE in of_gone.read_text()
    of_new.rmdir()
    files.publish(published([NEW], shards=LOCAL_SHARDS))
    assert GONE not in of_gone.read_text()
    assert NEW in of_new.read_text()
