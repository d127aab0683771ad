"""An OpenAI-compatible server (LitServe). Its model answers with the words that it is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import litserve


class Echo(litserve.LitAPI):
    def setup(self, device: str) -> None:
        """It has no model to load."""

    def predict(self, request: Any) -> Iterator[str]:
        for word in request.messages[-1].content.split():
            yield f"{word} "


if __name__ == "__main__":
    server = litserve.LitServer(Echo(spec=litserve.OpenAISpec()), accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
