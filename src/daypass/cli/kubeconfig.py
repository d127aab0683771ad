"""`daypass kubeconfig`: an entry with which kubectl gets its tokens from daypass."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace

from daypass._core.errors import DaypassError
from daypass._core.hints import kubectl
from daypass.cli import options
from daypass.cli.console import log, write
from daypass.cli.fast_path import cached_token
from daypass.cli.output import as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.client.credentials_source import CredentialsSource

EXTRA = None
SUMMARY = "a kubeconfig whose tokens come from daypass"
EPILOG = """examples:
  daypass kubeconfig --server https://k8s.example.com:6443 \\
    --certificate-authority ca.crt --kubeconfig-out ~/.kube/bot
  KUBECONFIG=~/.kube/config:~/.kube/bot \\
    kubectl --context bot@k8s.example.com get pods

The server is never the door, which exposes TokenRequest only. The audience is one of the API
server's --api-audiences: its issuer, if it has no others.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--server", required=True, metavar="URL", help="the API server")
    parser.add_argument(
        "--certificate-authority",
        metavar="FILE",
        help="PEM to include (default: the machine's certificate authorities)",
    )
    parser.add_argument(
        "--audience",
        metavar="A",
        help="the API server's (default: the issuer of the door's tokens)",
    )
    parser.add_argument("--name", help="of cluster, user and context (default: ACCOUNT@HOST)")
    parser.add_argument("--kubeconfig-out", metavar="FILE", help="a new file (default: stdout)")
    options.add_credentials(parser)


def run(args: Namespace) -> int:
    from daypass.client.config import CredentialsConfig
    from daypass.client.credentials_source import FILE_VARIABLE, read_source
    from daypass.integrations.kubectl import (
        check_server,
        kubeconfig,
        read_public_authority,
        write_new,
    )

    source = read_source(os.environ, args.credentials)
    settings = CredentialsConfig(source)
    host = check_server(args.server, settings.door)
    file = args.credentials or os.environ.get(FILE_VARIABLE)
    command = [*_program(), "exec-credential"]
    if file:
        command += ["--credentials", os.path.abspath(file)]
    audience = args.audience or _issuer(source)
    if audience is not None:
        command += ["--audience", audience]
    name = args.name or f"{settings.identity.service_account}@{host}"
    authority = args.certificate_authority
    document = kubeconfig(
        name=name,
        namespace=settings.identity.namespace,
        server=args.server,
        authority_pem=None if authority is None else read_public_authority(authority),
        command=command,
    )
    content = as_text(document, "yaml")
    if args.kubeconfig_out is None:
        write(content)
    else:
        write_new(args.kubeconfig_out, content)
        line = kubectl("--context", name, "get", "pods")
        file_out = args.kubeconfig_out
        log(f"wrote {file_out}", f"try: KUBECONFIG={shlex.quote(file_out)} {line}")
    if not file:
        log("kubectl will read the credentials from its own environment")
    if args.audience is None:
        log(
            f"tokens will be for {audience or settings.audience or 'no audience yet'}"
            + (", the issuer of this door's tokens" if audience else ""),
            "if the API server answers with 401, name its own audience with --audience",
        )
    return 0


def _issuer(source: CredentialsSource) -> str | None:
    """Return the `iss` of a token from the door, or None if no token can be obtained.

    It is the API server's own audience, unless --api-audiences sets another one.
    """
    from daypass._core.jwt import decode_unverified
    from daypass.client.door import check_audience

    try:
        entry = cached_token(source)
        issuer = decode_unverified(entry.value)[1].get("iss")
        return check_audience(issuer) if isinstance(issuer, str) else None
    except DaypassError as error:
        log(f"the audience of the API server is not known: {error.fact}", error.hint)
        return None


def _program() -> list[str]:
    """Return the absolute command that started this, so that kubectl doesn't need PATH."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "daypass" and os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "daypass"]
