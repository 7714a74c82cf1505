"""`--rootdir`, which several commands take: pytest's root folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_rootdir(parser: argparse.ArgumentParser) -> None:
    """Let a command take it; it may stand before the name of the command's part, or after."""
    parser.add_argument(
        "--rootdir",
        type=Path,
        # What is not given must not cover what was given before the part's name.
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="pytest's root folder; default: the current one",
    )


def rootdir(given: argparse.Namespace) -> Path:
    """What was given, else the current folder."""
    root: Path = getattr(given, "rootdir", Path())
    return root
