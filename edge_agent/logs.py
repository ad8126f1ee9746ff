"""How the agent logs: JSON for machines (systemd, a pipe), readable on a terminal. To standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, cast

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO


class _StandardError:
    """Standard error, whatever becomes of it: a log that nobody can read is no reason to end."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def set_up_logs(environment: Mapping[str, str], *, verbose: bool = False) -> None:
    readable = sys.stderr.isatty() and "JOURNAL_STREAM" not in environment
    renderer = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )


def warn_all(warnings: list[str]) -> None:
    """What was repaired or left out, a line each."""
    log = structlog.get_logger()
    for warning in warnings:
        log.warning("dbc", what=warning)
