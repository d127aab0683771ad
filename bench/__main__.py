"""`python -m bench [--quick] [NAME ...]`: all measurements, or the named ones.

Without --quick, it writes the figures into docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from bench.report import PAGE, write_table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

NAMES = (
    "commands",
    "library",
    "stack",
    "door",
    "gate",
    "gateway",
    "revocation",
    "machine",
    "namespaces",
    "review",
    "models",
    "junk",
)


def main() -> None:
    """Run measurements one after another."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    parser.add_argument("--page", type=Path, help="write into this page, with --quick too")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    for name in args.names or NAMES:
        importlib.import_module(f"bench.{name}").run(quick=args.quick)
        if args.page is not None or not args.quick:
            write_table(name, args.page or PAGE)


if __name__ == "__main__":
    main()
