"""KServe's model server, which speaks Triton's protocol, and what arrives at it.

It is in a process of its own, also because KServe and tritonclient's gRPC cannot be imported into
one: both define the messages of the protocol.
"""

from clients.kserve.conftest import calls, calls_file, grpc_port, server

__all__ = ["calls", "calls_file", "grpc_port", "server"]
