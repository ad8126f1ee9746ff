"""Encodes and decodes every vector on this machine and compares to the bit: `python -m tests.vectors.check`.

Exits 1 where anything differs. Needs the codec and what it imports, nothing else.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import codec
from codec.kernel import library_of
from codec.library import Library
from tests.vectors.vector import load, names, run

CODEC = Path(codec.__file__).parent


def differences(name: str) -> list[str]:
    """What of a vector this machine makes differently; empty: nothing."""
    vector = load(name)
    found = []
    for seq, (made, kept) in enumerate(zip(run(vector), vector.outputs, strict=True)):
        found += [f"{name}: block {seq}: {key} differs" for key in kept if made[key] != kept[key]]
    return found


def main() -> int:
    complaints = [complaint for name in names() for complaint in differences(name)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    kernels = "compiled ahead" if isinstance(library_of(CODEC), Library) else "compiled by numba"
    print(f"{platform.machine()}, kernels {kernels}: {len(names())} vectors, {len(complaints)} differences")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
