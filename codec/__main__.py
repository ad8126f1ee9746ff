"""`python -m codec compile PACKAGE...`: kernels compiled ahead of time, so that a vehicle needs no numba and does not wait."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from codec.errors import NoKernels
from codec.kernel import origin
from codec.library import MACHINES

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 no kernels come of it, 2 command line."""
    options = _parser().parse_args(arguments)
    return int(options.command(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m codec", description="Kernels compiled ahead of time.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    compiling = subparsers.add_parser(
        "compile", help="compile the kernels of packages; needs numba and a linker"
    )
    compiling.add_argument(
        "--machine",
        choices=MACHINES,
        help="for machines of that kind, as `uname -m` names them (default: this one)",
    )
    compiling.set_defaults(command=_compile)
    origins = subparsers.add_parser("origin", help="say where the kernels of packages come from")
    origins.set_defaults(command=_origin)
    for command in (compiling, origins):
        command.add_argument(
            "packages", nargs="*", default=["codec"], metavar="PACKAGE", help="default: codec"
        )
    return parser


def _compile(options: argparse.Namespace) -> int:
    # Before numba is imported: for any processor of the kind, not for the one that compiles.
    os.environ["NUMBA_CPU_NAME"] = MACHINES.get(platform.machine(), "generic")
    os.environ["NUMBA_CPU_FEATURES"] = ""
    try:
        from codec.compile import CannotCompile, compile_package
    except ImportError as error:
        print(f"kernels are compiled by numba: {error}", file=sys.stderr)
        return 1
    for name in options.packages:
        start_s = time.monotonic()
        try:
            path = compile_package(imported(name), options.machine)
        except CannotCompile as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB in {time.monotonic() - start_s:.0f} s")
    return 0


def imported(name: str) -> Path:
    """The folder of a package of which every module is imported, so that all its entries are known."""
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__, f"{name}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    return Path(package.__path__[0])


def _origin(options: argparse.Namespace) -> int:
    try:
        for name in options.packages:
            print(f"{name}: {origin(importlib.import_module(name))}")
    except NoKernels as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
