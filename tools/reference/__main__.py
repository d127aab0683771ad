"""`python -m tools.reference`: write the generated parts of pages."""

from __future__ import annotations

from tools.bootstrap import ROOT
from tools.reference import (
    commands,
    daypass_yaml,
    logs,
    messages,
    object_names,
    output,
    rbac,
    telemetry,
)
from tools.reference.markdown import filled

KIND = "make reference"
PARTS = {
    "commands": {"commands": commands.page},
    "daypass-yaml": {"daypass-yaml": daypass_yaml.page},
    "labels": {"labels": object_names.keys, "names": object_names.names},
    "logs": {
        "door": logs.door, "gate": logs.gate, "gate-istio": logs.gate_istio,
        "gate-envoy-gateway": logs.gate_envoy_gateway, "gate-serve": logs.gate_serve,
        "gate-watch": logs.gate_watch, "agent": logs.agent,
    },
    "messages": {
        "gate-messages": messages.gate, "door-messages": messages.door,
        "client-messages": messages.client,
    },
    "metrics": {
        "envoy": telemetry.envoy, "gate-watch": telemetry.gate_watch,
        "gate-serve": telemetry.gate_serve, "agent": telemetry.agent,
    },
    "output": {"output": output.page},
    "rbac": {"gate-watch": rbac.gate_watch, "gate-serve": rbac.gate_serve},
}  # fmt: skip
"""What writes each part of a page of docs/reference/."""


def files() -> dict[str, str]:
    """Return the text of each page with generated parts, by its path in the repository."""
    found = {}
    for page, parts in PARTS.items():
        name = f"docs/reference/{page}.md"
        found[name] = (ROOT / name).read_text()
        for part, make in parts.items():
            found[name] = filled(found[name], KIND, part, make())
    return found


if __name__ == "__main__":
    for name, text in files().items():
        (ROOT / name).write_text(text)
