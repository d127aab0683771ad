"""`python -m bench [--quick] [NAME ...]`: all measurements, or the named ones."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

NAMES = (
    "commands",
    "library",
    "inflight",
    "fleet",
    "render",
    "apply",
    "verify",
    "stack",
    "door",
    "gate",
    "revocation",
    "review",
    "junk",
    "hostile",
    "identity",
    "inventory",
)


def main() -> None:
    """Run measurements one after another."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    for name in args.names or NAMES:
        importlib.import_module(f"bench.{name}").run(quick=args.quick)


if __name__ == "__main__":
    main()
