"""What several commands are asked, and how they tell what went wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import ENVIRONMENT_PREFIX, PROFILES, SEVERITIES, Config, rules_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

FORMATS = ("table", "csv", "json")
__all__ = ["FORMATS", "SEVERITIES", "add_format", "add_store", "told"]


def add_store(parser: argparse.ArgumentParser) -> None:
    """The store as `serve` finds it where no file configures it."""
    named = os.environ.get(f"{ENVIRONMENT_PREFIX}STORE") or os.environ.get("DATABASE_URL")
    parser.add_argument(
        "--store",
        type=path_or_url,
        default=path_or_url(named) if named else Config().store,
        metavar="F",
        help="SQLite file, or postgresql://user@host/database; default: DEADRECKON_COLLECTOR_STORE, else DATABASE_URL, else "
        "collector.db",
    )


def path_or_url(text: str) -> Path | str:
    return text if "://" in text else Path(text)


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
