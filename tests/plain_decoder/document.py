"""The numbers that docs/wire-format.md states in tables and may change with the codec; the decoder takes them from there."""

from __future__ import annotations

import re
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "wire-format.md").read_text()

# Where the contexts of each name begin, and how many there are of it.
LAYOUT = {
    name: (int(first), int(size))
    for first, name, size in re.findall(r"^\| (\d+) \| ([A-Z]+) \| (\d+) \|", TEXT, re.MULTILINE)
}
CONTEXTS = int(re.findall(r"Each column has (\d+) contexts", TEXT)[0])
FAST, SLOW = map(
    int, re.findall(r"^\| FAST \| SLOW \|\n\|[-|]+\|\n\| (\d+) \| (\d+) \|", TEXT, re.MULTILINE)[0]
)
CLASSIC_ALPHA = int(re.findall(r"alpha = 65536, (\d+), 65536;", TEXT)[0])
HOLT_BETA = int(re.findall(r"beta = 0, 0, (\d+)\.", TEXT)[0])
BUILT_IN_PRIOR = re.findall(r"ships a copy of that file \(`([0-9a-f]*)`\)", TEXT)[0]
