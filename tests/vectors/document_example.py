"""Section 13 of docs/wire-format.md, and the numbers in it that are tuned with the codec: written by `make vectors`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec import range_coder
from codec.priors import built_in
from codec.records import Records
from codec.schema import Schema, Signal
from codec.stream import StreamEncoder, StreamFacts

if TYPE_CHECKING:
    from tests.plain_decoder.range_decoder import RangeDecoder

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "wire-format.md"
HEADING = "## 13 Worked example\n"

SCHEMA = Schema(50, (Signal("Speed", unit="km/h", factor=0.1, threshold=0.5), Signal("Gear")))
FACTS = StreamFacts(bytes(range(16)), 0, 100)
COLUMNS = (
    (102, [[100, 103, 106, 109, 112, 115], [3, 3, 3, 4, 4, 4]]),
    (110, [[124, 127, 130, 133, 131, 129], [4, 4, 4, 4, 4, 4]]),
)


def blocks() -> list[bytes]:
    encoder = StreamEncoder(SCHEMA, FACTS)
    return [encoder.encode(_records(first, columns)).content for first, columns in COLUMNS]


def _records(first: int, columns: list[list[int]]) -> Records:
    counts = np.array(columns, np.int64).T
    return Records(first, counts, np.zeros(counts.shape, np.uint8))


def _traced(reads: list[str]) -> type[RangeDecoder]:
    from tests.plain_decoder.document import LAYOUT
    from tests.plain_decoder.range_decoder import RangeDecoder

    def place(index: int) -> str:
        name, first = max(((n, f) for n, (f, _) in LAYOUT.items() if f <= index), key=lambda row: row[1])
        return f"{name} + {index - first}" if index > first else name

    class Traced(RangeDecoder):
        depth = 0

        def note(self, what: str, index: int, *arguments: int) -> int:
            self.depth += 1
            value: int = getattr(RangeDecoder, what)(self, index, *arguments)
            self.depth -= 1
            if self.depth == 0:
                called = f"{what}({', '.join([place(index), *map(str, arguments)])})"
                reads.append(f"| `{called}` | {value} | `{self.range:08x}` | `{self.low:08x}` |")
            return value

        def bit(self, index: int) -> int:
            return self.note("bit", index)

        def int(self, base: int) -> int:
            return self.note("int", base)

        def count(self, base: int) -> int:
            return self.note("count", base)

        def tree(self, base: int, bits: int) -> int:
            return self.note("tree", base, bits)

    return Traced


def example() -> str:
    from tests.plain_decoder import stream
    from tests.vectors.plain import plain_decoder

    reads: list[str] = []
    original, stream.RangeDecoder = stream.RangeDecoder, _traced(reads)
    try:
        decoder = plain_decoder(SCHEMA, FACTS)
        found: list[Any] = []
        for seq, content in enumerate(blocks()):
            found.append(decoder.decode(seq, content))
            if seq == 0:
                shown, digest = list(reads), decoder.group_digest
    finally:
        stream.RangeDecoder = original
    first, second = blocks()
    size = found[0].header.size
    return f"""
The schema, named `{SCHEMA.hash.hex()}`:

    {SCHEMA.to_bytes().decode()}

Speed has D = 5, step = 11, grid = 3; Gear is lossless. stream_id is 00 01 .. 0f, origin_tick 100, clock_offset_ns 0, no guards, the
built-in prior. Two blocks:

| seq | block | first tick | Speed sampled | Speed read | Gear |
|---|---|---|---|---|---|
{_row(0, first, found[0])}
{_row(1, second, found[1])}

The header of the first: `{first[0]:02x}` keyframe of version 1, `{first[1]:02x}` digest, `{first[2]:02x}` 6 records, `{first[3]:02x}` tick 100 + 2, `{first[4]:02x}` zigzag of 2 ticks without a
record, `{first[5]:02x}` clock as in StreamInfo and synchronised, four bytes of 0: no group before. Of the second: `{second[0]:02x}` SKIP, SAME, version 1; `{second[1]:02x}`
digest; `{second[2]:02x}` 2 ticks without a record.

The body of the first is `{first[size:].hex(" ")}`: low = `{int.from_bytes((first[size:] + bytes(4))[:4]):08x}` to begin with. What is read, and range and low afterwards:

| read | value | range | low |
|---|---|---|---|
{chr(10).join(shown)}

After it the group digest is `{digest:08x}`, and its lowest byte is in the header; after the second it is `{decoder.group_digest:08x}`.
"""


def _row(seq: int, content: bytes, block: Any) -> str:
    sampled = ", ".join(map(str, COLUMNS[seq][1][0]))
    speed, gear = (", ".join(map(str, column)) for column in block.counts)
    return f"| {seq} | `{content.hex(' ')}` | {block.first_tick} | {sampled} | {speed} | {gear} |"


def write() -> None:
    text = DOCUMENT.read_text()
    text = re.sub(
        r"(\| FAST \| SLOW \|\n\|[-|]+\|\n).*\n",
        rf"\g<1>| {range_coder._FAST} | {range_coder._SLOW} |\n",
        text,
    )
    text = re.sub(r"(ships a copy of that file \(`)[0-9a-f]*", rf"\g<1>{built_in().hash.hex()}", text)
    DOCUMENT.write_text(text)
    DOCUMENT.write_text(text.partition(HEADING)[0] + HEADING + example())
