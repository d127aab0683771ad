"""`daypass identity federate`: an identity for holders of OIDC tokens, such as CI jobs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from daypass._core.errors import UsageError
from daypass.cli import options
from daypass.cli.console import log, warn, write
from daypass.cli.output import as_text, did, write_credentials

SUMMARY = "create an identity that CI jobs use with their own OIDC tokens"
EPILOG = """examples:
  daypass identity federate ci -n team --credentials-out ci.json \\
    --issuer https://token.actions.githubusercontent.com \\
    --subject repo:org/app:ref:refs/heads/main --source github \\
    > authentication.yaml

Run it next to daypass.yaml, which has the door and the audience. stdout gets the API server's
--authentication-config, which an administrator of the control plane has to install; after an error,
a file that it is redirected to is empty.
"""
OUTPUT = dict[str, Any]


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser, "the ServiceAccount's name")
    trust = parser.add_argument_group("trusted tokens")
    trust.add_argument("--issuer", required=True, metavar="URL", help="the claim `iss`")
    trust.add_argument(
        "--subject",
        required=True,
        action="append",
        metavar="S",
        help="the claim `sub`; may be repeated. Earlier subjects that are not named lose access",
    )
    trust.add_argument(
        "--token-audience", metavar="A", help="the claim `aud` (default: the door's URL)"
    )
    trust.add_argument(
        "--issuer-authority",
        metavar="FILE",
        help="PEM of the issuer's private certificate authority",
    )
    trust.add_argument(
        "--source",
        required=True,
        metavar="SOURCE",
        help="where the OIDC token is: github, file:PATH or variable:NAME",
    )
    options.add_credentials_out(parser, "the credentials file to write", required=True)
    parser.add_argument(
        "--merge", metavar="FILE", help="an AuthenticationConfiguration to add the issuer to"
    )
    options.add_creation(parser)
    options.add_output(parser, "default: yaml", choices=("yaml", "json"))
    options.add_door(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Create the identity, write its credentials file, print the API server's configuration."""
    from daypass._core.tls import read_authority

    file: str | None = args.issuer_authority
    authority = None if file is None else read_authority(file)
    door = options.door_options(args, is_federated=True)
    existing = _read_yaml(args.merge)
    with options.open_identity(args) as (cluster, name):
        from daypass.identity.accounts import find_account
        from daypass.identity.create import (
            Federation,
            IdentitySpec,
            check,
            create,
            plan,
            reusable_secret,
        )
        from daypass.identity.credential_secrets import parse_source
        from daypass.identity.credentials_file import check_file
        from daypass.render.authentication_config import TrustedIssuer, authentication_configuration

        check_file(args.credentials_out, name, now_unix=cluster.clock.unix(), force=args.force)
        account = find_account(cluster, name)
        settings = door.settings(name, account, cluster)
        audience = args.token_audience or settings.door
        trusted = TrustedIssuer(
            url=args.issuer, audience=audience, subjects=tuple(args.subject), authority=authority
        )
        source = f"github:{audience}" if args.source == "github" else args.source
        parse_source(source)
        spec = IdentitySpec(
            name=name,
            credentials=settings,
            adopt=args.adopt,
            deadline=options.deadline(args, cluster),
            watcher_namespace=door.watcher_namespace,
            federation=Federation(users=tuple(trusted.users), source=source),
        )
        authentication = authentication_configuration(trusted, existing)
        anchor = None
        is_missing = options.create_namespace(args, cluster, name.namespace)
        gates = options.gate_wait(args, cluster, door.watcher_namespace)
        if not args.dry_run:
            anchor = create(cluster, account, spec, warn=warn)
            gates.wait_added([anchor.secret.uid])
            write_credentials(args.credentials_out, settings.file_content(anchor))
        elif not is_missing:
            reused = reusable_secret(cluster, account, warn, federated=True)
            documents = plan(spec, account, reused, clock=cluster.clock)
            check(cluster, spec, documents, is_new=reused is None, warn=warn)
    write(as_text(authentication, args.output))
    written = f"{did(args.dry_run, 'write', 'wrote')} {args.credentials_out}"
    if anchor is not None:
        written += f", which has no secret; tokens are bound to the Secret {anchor.secret.name}"
    works = "it works once the output is the API server's --authentication-config"
    log(
        f"{did(args.dry_run, 'federate', 'federated')} identity {name} for"
        f" {', '.join(trusted.users)}",
        f"{gates.at_gates}\n{written}\n{works}",
    )
    return gates.exit_code


def _read_yaml(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    import yaml

    try:
        document: Any = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        fact = f"{path} cannot be read: {error.strerror}"
        raise UsageError(fact, "is the path right?") from None
    except yaml.YAMLError:
        document = None
    if not isinstance(document, dict):
        hint = (
            "use the file of the API server's --authentication-config; a redirect to the same file"
            " empties it first: write to another name"
        )
        raise UsageError(f"{path} is not a YAML object", hint)
    return document
