"""`python -m tools.reference`: write the generated pages."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tools.reference import commands, daypass_yaml, exit_codes, man  # noqa: E402 - they need that path


def files() -> dict[str, str]:
    """Return the text of each generated file, by its path in the repository."""
    return {
        "docs/reference/commands.md": commands.page(),
        "docs/reference/exit-codes-and-environment.md": exit_codes.page(),
        "docs/reference/daypass-yaml.md": daypass_yaml.page(),
        **{f"man/{name}": page for name, page in man.pages().items()},
    }


if __name__ == "__main__":
    for name, text in files().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text)
