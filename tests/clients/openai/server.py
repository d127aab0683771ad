"""An OpenAI-compatible server (LitServe). Its model answers with the words that it is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import litserve
from fastapi import WebSocket


class Echo(litserve.LitAPI):
    def setup(self, device: str) -> None:
        """It has no model to load."""

    def predict(self, request: Any) -> Iterator[str]:
        for word in request.messages[-1].content.split():
            yield f"{word} "


async def realtime(socket: WebSocket) -> None:
    """The Realtime API, as far as it says which item it has been given."""
    await socket.accept()
    async for event in socket.iter_json():
        made = {"type": "conversation.item.created", "event_id": "1", "item": event["item"]}
        await socket.send_json(made)


if __name__ == "__main__":
    server = litserve.LitServer(Echo(spec=litserve.OpenAISpec()), accelerator="cpu")
    server.app.add_api_websocket_route("/v1/realtime", realtime)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
