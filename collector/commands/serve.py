"""`collector serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import KEYS, Config, load_config

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="take in what vehicles send", description=run.__doc__)
    serve.add_argument(
        "--config", type=Path, metavar="F", help="TOML file; flags and DEADRECKON_COLLECTOR_* win over it"
    )
    serve.add_argument(
        "--listen", metavar="HOST:PORT", help=f"default {Config().listen}; port 0 takes any that is free"
    )
    serve.add_argument(
        "--store",
        metavar="F",
        help=f"SQLite file, made if missing, or postgresql://...; default {Config().store}",
    )
    serve.add_argument("--rules", metavar="F", help="rules file, or a shipped one: demo (default), fleet")
    serve.add_argument("--catalogue", metavar="F", help="signatures for diagnosis; default: the shipped ones")
    serve.add_argument(
        "--battery",
        metavar="F",
        help="which signals play which role in a battery; default: known names, and guesses",
    )
    serve.add_argument("--webhooks", metavar="F", help="who is told of faults; default: nobody")
    serve.add_argument(
        "--window-bytes", type=int, metavar="N", help="unacknowledged bytes per vehicle, at most"
    )
    serve.add_argument("--ack-within-s", type=float, metavar="S", help=f"default {Config().ack_within_s:g}")
    serve.add_argument(
        "--insecure", action="store_true", default=None, help="listen beyond loopback without TLS"
    )
    serve.add_argument(
        "--materialise-hz",
        type=float,
        metavar="HZ",
        help=f"rows of telemetry_logs a second and vehicle, 0 for none; default {Config().materialise_hz:g}",
    )
    for name, when in (("before", "before"), ("after", "after")):
        serve.add_argument(
            f"--faults-{name}-s",
            type=float,
            metavar="S",
            help=f"all records are rows so long {when} a fault opens or ends",
        )
    for name in (key.removeprefix("keep_").removesuffix("_days") for key in KEYS if key.startswith("keep_")):
        usual = getattr(Config(), f"keep_{name}_days")
        serve.add_argument(
            f"--keep-{name.replace('_', '-')}-days",
            type=int,
            metavar="N",
            help=f"0: for ever; default {usual}",
        )
    serve.add_argument("--verbose", action="store_true", help="log more")
    serve.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Takes in what vehicles send, applies the rules, and stores it. Ends on SIGTERM or SIGINT."""
    import asyncio

    import structlog

    from codec.errors import NoKernels
    from collector.app import serve
    from collector.battery import RolesError
    from collector.detectors.settings import DetectorSettingsError
    from collector.diagnosis import CatalogueError
    from collector.logs import set_up_logs
    from collector.models import ModelError
    from collector.rules import RuleError
    from collector.store import StoreError

    names = [name for name in KEYS if hasattr(options, name)]
    config = load_config(options.config, os.environ, {name: getattr(options, name) for name in names})
    set_up_logs(verbose=options.verbose)
    try:
        return 0 if asyncio.run(serve(config)) else 1
    except (
        *(RuleError, ModelError, DetectorSettingsError, CatalogueError, RolesError),
        *(StoreError, NoKernels, OSError),
    ) as error:
        structlog.get_logger().error("cannot start", trouble=str(error))
        return 1
