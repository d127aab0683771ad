"""gRPC: `python with_grpc.py kubeflow.example.com:443` asks a server whether it is healthy.

DAYPASS_CREDENTIALS names the credentials file. GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names the server's
certificate authority, if it is not a public one.
"""

from __future__ import annotations

import sys

import daypass
import daypass.integrations.grpc
import grpc

target = sys.argv[1]

credentials = daypass.Credentials.load()
secure = daypass.integrations.grpc.channel_credentials(credentials)
with grpc.secure_channel(target, secure) as channel:
    # A stub from protoc accepts the channel too; an empty message needs no stub.
    check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/grpc.health.v1.Health/Check"
    )
    answer = check(b"", timeout=30)

print("serving" if answer == b"\x08\x01" else f"not serving: {answer!r}")
