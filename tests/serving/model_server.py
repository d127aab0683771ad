"""A model server of no model: it answers KServe's and OpenAI's clients, as far as they look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.http_services import Handler, serving

PREDICTED = 7
SAID = "Good morning"


@dataclass(slots=True, kw_only=True)
class ModelServer:
    """One that runs. `callers`: who has called, as the gate says, in order."""

    port: int = 0
    callers: list[str] = field(default_factory=list)


@contextmanager
def running_model_server() -> Iterator[ModelServer]:
    server = ModelServer()

    class Answering(Handler):
        def do_POST(self) -> None:
            self.content()
            server.callers.append(self.fields().get("kubeflow-userid", ""))
            answer = COMPLETION if self.path.endswith("/chat/completions") else INFERENCE
            self.answer(200, json.dumps(answer), content_type="application/json")

        do_GET = do_POST

    with serving(Answering) as port:
        server.port = port
        yield server


INFERENCE = {
    "model_name": "iris",
    "outputs": [{"name": "output-0", "shape": [1], "datatype": "INT64", "data": [PREDICTED]}],
}
"""By the Open Inference Protocol, KServe's v2."""
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "llama",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": SAID},
        }
    ],
}
