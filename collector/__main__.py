"""Command line: collector serve, query, tail, import, priors. Heavy imports stand in the command that needs them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from collector.config import Config, ConfigError, load_config

QUERIES = ("vehicles", "faults", "gaps", "streams", "signal")
FORMATS = ("table", "csv", "json")
SEVERITIES = ("INFO", "WARNING", "CRITICAL")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 it could not be done (the message says why), 2 it was asked wrongly."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(f"collector: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `collector query ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collector", description="Takes in what vehicles send, exactly once."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    serve = commands.add_parser("serve", help="take in what vehicles send", description=_serve.__doc__)
    serve.add_argument(
        "--config", type=Path, metavar="F", help="TOML file; flags and DEADRECKON_COLLECTOR_* win over it"
    )
    serve.add_argument(
        "--listen", metavar="HOST:PORT", help=f"default {Config().listen}; port 0 takes any that is free"
    )
    serve.add_argument("--store", metavar="F", help=f"SQLite file, made if missing; default {Config().store}")
    serve.add_argument("--rules", metavar="F", help="rules file; default: the shipped one")
    serve.add_argument(
        "--window-bytes", type=int, metavar="N", help="unacknowledged bytes per vehicle, at most"
    )
    serve.add_argument("--ack-within-s", type=float, metavar="S", help=f"default {Config().ack_within_s:g}")
    serve.add_argument(
        "--insecure", action="store_true", default=None, help="listen beyond loopback without TLS"
    )
    serve.add_argument("--verbose", action="store_true", help="log more")
    serve.set_defaults(run=_serve)

    query = commands.add_parser("query", help="print vehicles, faults, signals", description=_query.__doc__)
    query.add_argument("what", choices=QUERIES)
    query.add_argument(
        "names", nargs="*", metavar="SIGNAL", help="for signal: one or more names; none: list them"
    )
    query.add_argument("--vin", help="of one vehicle")
    query.add_argument("--from", dest="start", metavar="T", help="2026-11-21T08:15:30Z, 2026-11-21, or -15m")
    query.add_argument("--to", dest="end", metavar="T", help="the same; not included")
    query.add_argument(
        "--rate", type=float, metavar="HZ", help="at most so many records a second; default: all"
    )
    query.add_argument("--severity", choices=SEVERITIES, help="of faults")
    query.add_argument(
        "--open", dest="only_open", action="store_true", help="only faults that have not ended"
    )
    query.add_argument("--format", choices=FORMATS, default="table")
    query.add_argument("--store", type=Path, default=Path(Config().store), metavar="F")
    query.set_defaults(run=_query)

    tail = commands.add_parser("tail", help="print the live stream", description=_tail.__doc__)
    tail.add_argument("--vin", help="of one vehicle")
    tail.add_argument("--signal", action="append", metavar="NAME", help="only this one; may be given again")
    tail.add_argument(
        "-n", "--lines", type=int, default=10, metavar="N", help="begin with the last N lines; default 10"
    )
    tail.add_argument("--store", type=Path, default=Path(Config().store), metavar="F")
    tail.set_defaults(run=_tail)

    take = commands.add_parser("import", help="take in a recorded log", description=_import.__doc__)
    take.add_argument("log", type=Path)
    take.add_argument(
        "--dbc", type=Path, action="append", required=True, metavar="F", help="may be given again"
    )
    take.add_argument("--vin", required=True, help="the vehicle: a VIN, or asset:<name>")
    take.add_argument("--model", default="", help="of the vehicle")
    take.add_argument("--rate", type=int, default=50, metavar="HZ", help="of the sample grid; default 50")
    take.add_argument("--lossless", action="store_true", help="thresholds of 0 instead of the default ones")
    take.add_argument("--store", type=Path, default=Path(Config().store), metavar="F")
    take.add_argument("--rules", type=Path, metavar="F", help="rules file; default: the shipped one")
    take.set_defaults(run=_import)

    _add_priors(commands)
    return parser


def _add_priors(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    priors = commands.add_parser("priors", help="train what makes blocks smaller", description=_train.__doc__)
    actions = priors.add_subparsers(required=True, metavar="action")
    train = actions.add_parser(
        "train", help="from what is stored, and offer it to vehicles", description=_train.__doc__
    )
    whose = train.add_mutually_exclusive_group()
    whose.add_argument("--vin", help="the schema of this vehicle's newest stream, from its drives alone")
    whose.add_argument(
        "--schema", metavar="HASH", help="or how it begins; default: every schema that is stored"
    )
    train.add_argument(
        "--hours", type=float, default=4.0, metavar="N", help="of the newest records; default 4"
    )
    train.add_argument("--store", type=Path, default=Path(Config().store), metavar="F")
    train.set_defaults(run=_train)
    offered = actions.add_parser("list", help="what is offered", description=_priors.__doc__)
    offered.add_argument("--format", choices=FORMATS, default="table")
    offered.add_argument("--store", type=Path, default=Path(Config().store), metavar="F")
    offered.set_defaults(run=_priors)


def _serve(options: argparse.Namespace) -> int:
    """Takes in what vehicles send, applies the rules, and stores it. Ends on SIGTERM or SIGINT."""
    import asyncio

    import structlog

    from codec.errors import NoKernels
    from collector.app import serve
    from collector.logs import set_up_logs
    from collector.rules import RuleError
    from collector.store import StoreError

    names = ("listen", "store", "rules", "window_bytes", "ack_within_s", "insecure")
    config = load_config(options.config, os.environ, {name: getattr(options, name) for name in names})
    set_up_logs(verbose=options.verbose)
    try:
        return 0 if asyncio.run(serve(config)) else 1
    except (RuleError, StoreError, NoKernels, OSError) as error:
        structlog.get_logger().error("cannot start", trouble=str(error))
        return 1


def _query(options: argparse.Namespace) -> int:
    """Prints what is stored: vehicles, faults, gaps, streams, or any signal over a time range at full rate."""
    from collector.query import QueryError, run
    from collector.store import StoreError

    return _told(lambda: run(options), StoreError, QueryError)


def _tail(options: argparse.Namespace) -> int:
    """Prints each vehicle's records as they arrive, one a second: good values green, those in a fault red."""
    from collector.query import QueryError
    from collector.store import StoreError
    from collector.tail import run

    return _told(lambda: run(options), StoreError, QueryError)


def _import(options: argparse.Namespace) -> int:
    """Takes a recorded log in as if its vehicle had sent it. The same log twice is taken once."""
    try:
        from collector.importer import ImportRefused, run
    except ImportError as error:
        print(
            f"collector: import reads logs and DBCs, and {error.name} is missing: pip install 'deadreckon[collector,logs]'",
            file=sys.stderr,
        )
        return 1
    from collector.rules import RuleError
    from collector.store import StoreError

    return _told(lambda: run(options), StoreError, RuleError, ImportRefused)


def _train(options: argparse.Namespace) -> int:
    """Trains a prior on stored drives, says what it saves on drives that it was not trained on, and offers it if that pays."""
    from collector.priors import run_train
    from collector.query import QueryError
    from collector.store import StoreError

    return _told(lambda: run_train(options), StoreError, QueryError)


def _priors(options: argparse.Namespace) -> int:
    """Prints the priors that vehicles are offered, and what each saves."""
    from collector.priors import run_list
    from collector.store import StoreError

    return _told(lambda: run_list(options), StoreError)


def _told(run: object, *errors: type[Exception]) -> int:
    """Run a command; an error it foresees is one line."""
    assert callable(run)
    try:
        run()
    except errors as error:
        print(f"collector: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
