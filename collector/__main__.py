"""Command line: `collector COMMAND`. The commands are in collector/commands."""

from __future__ import annotations

import argparse
import os
import sys

from collector.commands import COMMANDS
from collector.config import ConfigError
from collector.times import AGO


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 it could not be done (the message says why), 2 it was asked wrongly."""
    options = build_parser().parse_args(_ago_joined(sys.argv[1:] if arguments is None else arguments))
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


def _ago_joined(arguments: list[str]) -> list[str]:
    """`--from -7d` as `--from=-7d`: argparse takes what begins with a dash for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--from", "--to") and AGO.fullmatch(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collector", description="Takes in what vehicles send, exactly once."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
