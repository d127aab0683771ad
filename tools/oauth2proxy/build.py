"""Build oauth2-proxy, a browser login that the gate stands beside, once, for the tests.

    python -m tools.oauth2proxy.build

Needs Go and its module proxy, and about a minute; afterwards it returns at once. What is built is
decided by go.mod and go.sum beside this file. The program's path goes to stdout.
"""

from __future__ import annotations

from pathlib import Path

from tools.controlplane.build import BuildError
from tools.gobuild import built


def oauth2_proxy() -> Path:
    """The path of the program. Raises BuildError."""
    return built("oauth2proxy", "github.com/oauth2-proxy/oauth2-proxy/v7")


if __name__ == "__main__":
    try:
        print(oauth2_proxy())
    except BuildError as error:
        raise SystemExit(f"oauth2proxy: {error}") from None
