"""`daypass kubeconfig`: an entry with which kubectl gets its tokens from daypass."""

from __future__ import annotations

import os
import sys

from daypass._core.hints import kubectl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "a kubeconfig whose tokens come from daypass"
EPILOG = """examples:
  daypass kubeconfig --server https://k8s.example.com:6443 --certificate-authority ca.crt \\
      --audience https://kubernetes.default.svc.cluster.local --kubeconfig ~/.kube/bot
  KUBECONFIG=~/.kube/config:~/.kube/bot kubectl --context bot@k8s.example.com get pods

The server is one that is reached from here: never the door, which shows no API but that of tokens.
The audience is the API server's own (its --api-audiences; by default its issuer).
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--server", required=True, metavar="URL", help="the API server")
    parser.add_argument(
        "--certificate-authority", metavar="FILE",
        help="PEM, becomes a part of the entry (default: the machine's own authorities)",
    )  # fmt: skip
    parser.add_argument(
        "--audience", metavar="A", help="the API server's (default: the credentials' own)"
    )
    parser.add_argument("--name", help="of cluster, user and context (default: ACCOUNT@HOST)")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="a new file to write it to (default: stdout)"
    )
    parser.add_argument(
        "--credentials", metavar="FILE", help="instead of what DAYPASS_CREDENTIALS names"
    )


def run(args: Namespace) -> int:
    """Print or write the entry."""
    from daypass._core.clock import SYSTEM_CLOCK
    from daypass.cli import put, say
    from daypass.client.settings import parse_source
    from daypass.client.source import FILE_VARIABLE, read_source
    from daypass.integrations.kubeconfig import (
        check_server,
        kubeconfig,
        read_public_authority,
        write_new,
    )

    settings = parse_source(read_source(os.environ, args.credentials), SYSTEM_CLOCK.unix())
    host = check_server(args.server, settings.door)
    file = args.credentials or os.environ.get(FILE_VARIABLE)
    command = [*_program(), "exec-credential"]
    if file:
        command += ["--credentials", os.path.abspath(file)]
    if args.audience is not None:
        command += ["--audience", args.audience]
    name = args.name or f"{settings.identity.service_account}@{host}"
    authority = args.certificate_authority
    content = kubeconfig(
        name=name,
        namespace=settings.identity.namespace,
        server=args.server,
        authority_pem=None if authority is None else read_public_authority(authority),
        command=command,
    )
    if args.kubeconfig is None:
        put(content)
    else:
        write_new(args.kubeconfig, content)
        import shlex

        line = kubectl("--context", name, "get", "pods")
        say(f"written: KUBECONFIG={shlex.quote(args.kubeconfig)} {line}")
    if not file:
        say("the credentials are those of the environment that kubectl will run in")
    if args.audience is None:
        say(
            f"tokens will be for {settings.audience or 'no audience yet'}",
            "if the API server answers with 401, name its own audience with --audience",
        )
    return 0


def _program() -> list[str]:
    """How this was started, so that kubectl can start it whatever its PATH is."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "daypass" and os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "daypass"]
