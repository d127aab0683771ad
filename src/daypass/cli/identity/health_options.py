"""The options of every subcommand that looks at an identity's health."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser


def add_health_options(parser: ArgumentParser) -> None:
    """--check and --unused-after."""
    parser.add_argument(
        "--check", action="store_true", help="exit with 3 where there is a problem (notes are none)"
    )
    parser.add_argument(
        "--unused-after", metavar="TIME", default="90d",
        help="a token that lies unused for so long is a problem (default: 90d)",
    )  # fmt: skip
