"""`edge-agent`: run, check, status, init, estimate."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from codec.errors import NoKernels
from codec.identity import check_vehicle
from edge_agent.config import settings_table
from edge_agent.config_file import load_config, read_environment
from edge_agent.errors import AgentError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config import Config

UNNAMED = "asset:my-vehicle"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 it went wrong, 2 refused (configuration or command line), 3 status: not running."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (AgentError, NoKernels) as error:
        print(error, file=sys.stderr)
        return 2 if type(error).__name__ == "ConfigError" else 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; leave nothing for Python to flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-agent",
        description="Samples a vehicle's CAN buses and brings every record to a collector, through dead zones.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    run = subparsers.add_parser("run", help="run the agent")
    _config_option(run)
    run.add_argument("--verbose", action="store_true", help="log more")
    run.set_defaults(command=_run)

    check = subparsers.add_parser(
        "check", help="check a configuration and its DBCs, and say what would be sampled"
    )
    check.add_argument("--config", metavar="F", help="configuration (TOML)")
    check.add_argument("--settings", action="store_true", help="list every setting, its variable and default")
    check.set_defaults(command=_check)

    state = subparsers.add_parser("status", help="say how the running agent is")
    _config_option(state)
    state.set_defaults(command=_status)

    init = subparsers.add_parser("init", help="write a commented configuration for a DBC of your own")
    init.add_argument(
        "--dbc", metavar="F", action="append", required=True, help="DBC file; several are one bus"
    )
    init.add_argument(
        "-o", "--output", metavar="F", required=True, help="configuration to write; - for the screen"
    )
    init.add_argument(
        "--log",
        metavar="F",
        help="recorded log of that vehicle: signals that are not in it are commented out",
    )
    init.add_argument("--vehicle", default=UNNAMED, metavar="ID", help="VIN or asset:<name>")
    init.add_argument("--interface", default="socketcan", help="python-can interface (default: %(default)s)")
    init.add_argument("--channel", default="can0", help="python-can channel (default: %(default)s)")
    init.add_argument(
        "--budget-mb", type=float, default=20.0, metavar="MB",
        help="a month; signals beyond it are commented out (default: %(default)g)",
    )  # fmt: skip
    init.add_argument("--force", action="store_true", help="write over a file that exists")
    init.set_defaults(command=_init)

    estimate = subparsers.add_parser("estimate", help="MB a month, by signal, by really encoding a log")
    estimate.add_argument("log", metavar="LOG", help="recorded log, of any format that replay-logs reads")
    _config_option(estimate)
    estimate.add_argument(
        "--hours", type=float, default=60.0, metavar="H", help="of driving a month (default: %(default)g)"
    )
    estimate.set_defaults(command=_estimate)
    return parser


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="F", required=True, help="configuration (TOML)")


def _configuration(options: argparse.Namespace) -> Config:
    return load_config(options.config, read_environment(options.config))


def _run(options: argparse.Namespace) -> int:
    from edge_agent.app import run_agent
    from edge_agent.choices import make_plan
    from edge_agent.logs import set_up_logs, warn_all

    config = _configuration(options)
    plan, warnings = make_plan(config)
    set_up_logs(os.environ, verbose=options.verbose)
    warn_all(warnings)
    return run_agent(config, plan)


def _check(options: argparse.Namespace) -> int:
    if options.settings:
        for key, variable, default, meaning in settings_table():
            print(f"{key:<30}{variable:<44}{default:<18}{meaning}")
        return 0
    if options.config is None:
        raise AgentError("edge-agent check: name a configuration with --config F, or ask for --settings")
    from edge_agent.choices import make_plan

    config = _configuration(options)
    plan, warnings = make_plan(config)
    for warning in warnings:
        print(f"note: {warning}")
    for bus in config.buses:
        if bus.interface == "replay" and not Path(bus.channel).exists():
            raise AgentError(f"[[bus]] {bus.name}: the log that it plays is not there: {bus.channel}")
    print(
        f"{config.path}: {config.vehicle.id}, {len(plan.schema.signals)} signals at {plan.schema.rate_hz} Hz"
    )
    for bus in config.buses:
        print(f"bus {bus.name}: {bus.interface} {bus.channel}, {', '.join(bus.dbc)}")
    width = max(len(name) for name in plan.schema.names) + 2
    for entry in plan.schema.signals:
        kept = f"+-{entry.threshold:g} {entry.unit}".rstrip() if entry.threshold else "exact"
        turn = f", a circle of {entry.circular:g}" if entry.circular else ""
        print(f"  {entry.name:<{width}}{kept}{turn}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from edge_agent.status import is_running, read_status, render_status

    path = _configuration(options).outbox.path
    running = is_running(path)
    print(render_status(read_status(path), running=running, outbox_path=path, now_ns=time.time_ns()))
    return 0 if running else 3


def _init(options: argparse.Namespace) -> int:
    from edge_agent.propose import propose

    output = Path(options.output)
    to_screen = options.output == "-"
    if not to_screen and output.exists() and not options.force:
        raise AgentError(f"{output}: exists already; name another file, or say --force")
    folder = Path.cwd() if to_screen else output.resolve().parent
    try:
        vehicle = check_vehicle(options.vehicle)
    except ValueError as error:
        raise ConfigError(f"--vehicle: {error}") from None
    text, summary = propose(
        [Path(name) for name in options.dbc],
        folder=folder,
        vehicle=vehicle,
        interface=options.interface,
        channel=options.channel,
        budget_bytes=options.budget_mb * 1e6,
        log=options.log,
    )
    if to_screen:
        print(text)
        return 0
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AgentError(f"{output}: cannot be written: {error.strerror}") from None
    name = "set [vehicle] id in it, then " if vehicle == UNNAMED else ""
    print(f"{output}: {summary}\nNext: {name}edge-agent check --config {output}")
    print(f"What it really comes to: edge-agent estimate LOG --config {output}")
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from edge_agent.choices import make_plan
    from edge_agent.estimate import estimate, render_estimate

    config = _configuration(options)
    plan, _ = make_plan(config)
    print(render_estimate(estimate(options.log, config, plan), hours=options.hours))
    return 0


if __name__ == "__main__":
    sys.exit(main())
