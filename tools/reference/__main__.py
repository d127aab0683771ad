"""`python -m tools.reference`: write the generated pages."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tools.reference import (  # noqa: E402 - they need that path
    commands,
    daypass_yaml,
    exit_codes,
    man,
    messages,
    object_names,
    output,
    rbac,
    telemetry,
)


def files() -> dict[str, str]:
    """Return the text of each generated file, by its path in the repository."""
    pages = {
        "commands": commands.page(),
        "daypass-yaml": daypass_yaml.page(),
        "exit-codes-and-environment": exit_codes.page(),
        "labels": object_names.page(),
        "messages": messages.page(),
        "metrics-and-events": telemetry.page(),
        "output": output.page(),
        "rbac": rbac.page(),
    }
    return {
        **{f"docs/reference/{name}.md": text for name, text in pages.items()},
        **{f"man/{name}": text for name, text in man.pages().items()},
    }


if __name__ == "__main__":
    for name, text in files().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text)
