"""A disk that is full at any step of a write: the old token stays whole, and nothing is left."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.agent.placing import place

CALLS = ("mkdir", "open", "write", "fchown", "fchmod", "fsync", "link", "symlink", "replace")
LIMITED = """
import json, os, resource, sys
from pathlib import Path
from unit.agent.placing import place
path, layout, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    place(path, b"two" * 1500, layout=layout)
except OSError as error:
    found = error.errno
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
seen = path.read_bytes().decode(), sorted(os.listdir(path.parent))
place(path, b"three", layout=layout)
print(json.dumps([found, *seen]))
"""


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("limit", [0, 1, 4096])
def test_a_write_beyond_the_limit_of_a_file_changes_nothing(
    tmp_path: Path, layout: str, limit: int
) -> None:
    place(tmp_path / "t", b"one", layout=layout)
    before = names(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "t"), layout, str(limit)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [errno.EFBIG, "one", before]
    assert (tmp_path / "t").read_bytes() == b"three"


def failing_once(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The same call, without space the `at`th time."""
    count = 0

    def run(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(*arguments, **options)

    return run


@pytest.mark.parametrize("before", [b"one", None], ids=["replaced", "new"])
@pytest.mark.parametrize("call", CALLS)
def test_no_space_at_any_step_leaves_the_old_token_or_the_new_one(
    tmp_path: Path, layout: str, call: str, before: bytes | None
) -> None:
    failed = 0
    for at in range(1, 9):
        folder = tmp_path / str(at)
        folder.mkdir()
        place(folder / "other", b"other", layout=layout)
        if before is not None:
            place(folder / "t", before, layout=layout)
        expected: bytes | None = b"two"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, failing_once(getattr(os, call), at))
            try:
                place(folder / "t", b"two", layout=layout, owner=(os.geteuid(), -1))
            except OSError:
                failed, expected = failed + 1, before
        assert (folder / "t").exists() is (expected is not None)
        assert expected is None or (folder / "t").read_bytes() == expected
        assert (folder / "other").read_bytes() == b"other"
        place(folder / "t", b"three", layout=layout)
        assert (folder / "t").read_bytes() == b"three"
        generations = [name for name in names(folder) if name.startswith("..daypass-")]
        assert len(generations) <= 2
        links = ["..data"] if layout == "volume" else []
        assert set(names(folder)) == {"t", "other", *generations, *links}
    assert failed or layout == "file"
