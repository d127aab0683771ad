"""KServe's model server, on loopback, with one small model: `model_server.py HTTP GRPC CALLS`.

HTTP, GRPC: its two ports. CALLS: the file to which it appends the headers of each inference.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio._server
import kserve.protocol.rest.server
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Doubler(Model):
    """It doubles what it gets. By KServe's first protocol it can stream the results, too."""

    def __init__(self, calls: Path) -> None:
        super().__init__("double")
        self._calls = calls
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        with self._calls.open("a") as file:
            print(json.dumps(dict(headers or {})), file=file)
        if isinstance(payload, InferRequest):
            (given,) = payload.inputs
            doubled = given.as_numpy() * 2
            output = InferOutput("doubled", [*doubled.shape], "FP64")
            output.set_data_from_numpy(doubled, binary_data=given._raw_data is not None)
            return InferResponse(payload.id or "", self.name, [output])
        results = [2 * each for each in payload["instances"]]
        return _events(results) if payload.get("stream") else {"predictions": results}


async def _events(results: list[Any]) -> AsyncIterator[str]:
    for result in results:
        yield f"data: {result}\n\n"
        await asyncio.sleep(0)


def main(http_port: int, grpc_port: int, calls: Path) -> None:
    # KServe listens on all interfaces; this one on loopback alone.
    serve = kserve.protocol.rest.server._RefreshingServer.serve
    add_port = grpc.aio._server.Server.add_insecure_port

    async def serve_on_loopback(server: Any, sockets: Any = None) -> None:
        await serve(server, sockets=[socket.create_server(("127.0.0.1", http_port))])

    def add_port_of_loopback(server: Any, address: str) -> int:
        return add_port(server, f"127.0.0.1:{grpc_port}")

    kserve.protocol.rest.server._RefreshingServer.serve = serve_on_loopback
    grpc.aio._server.Server.add_insecure_port = add_port_of_loopback
    ModelServer(http_port, grpc_port, grace_period=1).start([Doubler(calls)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
