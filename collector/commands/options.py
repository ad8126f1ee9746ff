"""What several commands are asked, and how they tell what went wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import PROFILES, SEVERITIES, Config, rules_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

FORMATS = ("table", "csv", "json")
__all__ = ["FORMATS", "SEVERITIES", "add_format", "add_store", "told"]


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, default=Path(Config().store), metavar="F")


def add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rules",
        type=rules_file,
        metavar="F",
        help=f"rules file, or one that is shipped: {', '.join(PROFILES)}; default demo",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="table")


def told(run: Callable[[], object], *errors: type[Exception]) -> int:
    """Run a command; an error it foresees is one line."""
    try:
        run()
    except errors as error:
        print(f"collector: {error}", file=sys.stderr)
        return 1
    return 0
