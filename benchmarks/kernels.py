"""Values per second through the codec on one core: `python -m benchmarks.kernels`.

Rules
- Whole blocks through StreamEncoder and StreamDecoder, as agent and collector call them, not kernels in a loop.
- One stream: block after block of one drive. Interleaved: a block of every stream in turn, each stream with an encoder,
  a decoder and data of its own (another stretch of the drives), so that no state is in a cache when its turn comes.
- Encoders and decoders are not in memory at the same time. Where the streams asked for do not fit in the memory that is
  there, as many as fit are measured, and the row says how many.
- The yardstick is what numpy copies, in the same run: bytes read and bytes written. A value is 8 bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.recordings import our_car, recorded_cars
from benchmarks.sampled import SampledDrive, sample_drive
from benchmarks.schemes.ours import KEYFRAME_S, STREAM_ID
from benchmarks.screen import print_kernels, write_json
from codec.layout import CONTEXTS
from codec.residuals import STATE_SIZE
from codec.stream import StreamDecoder, StreamEncoder, StreamFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codec.records import Records
    from codec.schema import Schema

RATE_HZ = 50
FLEET = 5000
ROUNDS = 3  # blocks of each interleaved stream: a keyframe and what builds on it
CASES = (("given", 1.0, 1.0), ("given", 1.0, 10.0), ("tenth", 0.1, 10.0), ("lossless", 0.0, 10.0))
FLEET_CASES = CASES[:2]
COPY_BYTES = 1 << 28  # beyond every cache
STREAM_BYTES_MORE = 100_000  # a coder's workspace and its objects, beside contexts and states
MEMORY_SHARE = 0.6  # of what is free


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One way through the codec. The names are the keys of the JSON."""

    streams: int
    thresholds: str
    block_s: float
    values: int
    encode_values_per_s: float
    decode_values_per_s: float
    encode_share_of_bandwidth: float
    decode_share_of_bandwidth: float
    state_bytes: int


def copied_bytes_per_s() -> float:
    """Bytes read and written by the fastest of several copies."""
    source = np.ones(COPY_BYTES // 8)
    target = np.zeros_like(source)
    best = min(_seconds(lambda: np.copyto(target, source)) for _ in range(8))
    return 2 * source.nbytes / best


def one_stream(drive: SampledDrive, block_s: float) -> tuple[int, float, float]:
    """Values, and seconds of encoding and decoding them: the faster of two runs each."""
    schema = drive.schema
    facts = StreamFacts(STREAM_ID, 0, drive.runs[0].first_tick)
    blocks = _blocks(drive, round(block_s * RATE_HZ))
    group = round(KEYFRAME_S / block_s)

    def encode() -> list[bytes]:
        encoder = StreamEncoder(schema, facts)
        return [encoder.encode(block, keyframe=at % group == 0).content for at, block in enumerate(blocks)]

    def decode() -> None:
        decoder = StreamDecoder(schema, facts)
        for seq, content in enumerate(contents):
            decoder.decode(seq, content)

    contents = encode()
    decode()
    return (
        sum(block.counts.size for block in blocks),
        min(_seconds(encode) for _ in range(2)),
        min(_seconds(decode) for _ in range(2)),
    )


def interleaved(drive: SampledDrive, block_s: float, streams: int) -> tuple[int, float, float]:
    """The same for so many streams, a block of each in turn."""
    schema = drive.schema
    size = round(block_s * RATE_HZ)
    blocks = _blocks(drive, size)
    starts = [k * len(blocks) // streams for k in range(streams)]
    chains = [_chain(blocks, start) for start in starts]
    facts = [
        StreamFacts(number.to_bytes(16), number, chain[0].first_tick) for number, chain in enumerate(chains)
    ]
    encoders = [StreamEncoder(schema, fact) for fact in facts]
    contents: list[list[bytes]] = []
    encode_s = 0.0
    for turn in range(ROUNDS):
        start = time.perf_counter()
        contents.append([e.encode(chain[turn]).content for e, chain in zip(encoders, chains, strict=True)])
        encode_s += time.perf_counter() - start
    encoders.clear()
    decoders = [StreamDecoder(schema, fact) for fact in facts]
    decode_s = 0.0
    for seq, turn_contents in enumerate(contents):
        start = time.perf_counter()
        for decoder, content in zip(decoders, turn_contents, strict=True):
            decoder.decode(seq, content)
        decode_s += time.perf_counter() - start
    values = sum(chain[turn].counts.size for chain in chains for turn in range(ROUNDS))
    return values, encode_s, decode_s


def state_bytes(schema: Schema, streams: int) -> int:
    """What the encoders, or the decoders, of so many streams hold."""
    return streams * (len(schema.signals) * (CONTEXTS * 6 + STATE_SIZE * 8) + STREAM_BYTES_MORE)


def fitting(schema: Schema, streams: int, free_bytes: int) -> int:
    """How many of so many streams fit."""
    return max(1, min(streams, int(free_bytes * MEMORY_SHARE) // state_bytes(schema, 1)))


def measure(
    drive: SampledDrive, said: Callable[[str], None], fleet: int = FLEET
) -> tuple[list[KernelRow], float]:
    """All rows, and bytes per second that numpy copies."""
    copied = copied_bytes_per_s()
    rows = []
    for streams, cases in ((1, CASES), (fitting(drive.schema, fleet, _free_bytes()), FLEET_CASES)):
        for thresholds, share, block_s in cases:
            said(f"{streams:,} stream{'s' * (streams > 1)}, {thresholds}, blocks of {block_s:g} s")
            mine = drive.with_thresholds(share)
            run = one_stream(mine, block_s) if streams == 1 else interleaved(mine, block_s, streams)
            values, encode_s, decode_s = run
            rows.append(
                KernelRow(
                    streams=streams,
                    thresholds=thresholds,
                    block_s=block_s,
                    values=values,
                    encode_values_per_s=values / encode_s,
                    decode_values_per_s=values / decode_s,
                    encode_share_of_bandwidth=8 * values / encode_s / copied,
                    decode_share_of_bandwidth=8 * values / decode_s / copied,
                    state_bytes=state_bytes(mine.schema, streams),
                )
            )
    return rows, copied


def default_drive() -> SampledDrive:
    """The first reference drive, or ours where there is none."""
    car = next((car for car in recorded_cars() if car.name == "reference-drives"), our_car())
    return sample_drive(car.logs[0], car.dbcs, thresholds=car.thresholds)


def report(rows: Sequence[KernelRow], copied: float) -> dict[str, Any]:
    return {"rows": [asdict(row) for row in rows], "copied_bytes_per_s": copied}


def _blocks(drive: SampledDrive, size: int) -> list[Records]:
    return [
        run.slice(start, start + size) for run in drive.runs for start in range(0, len(run) - size + 1, size)
    ]


def _chain(blocks: Sequence[Records], start: int) -> list[Records]:
    """ROUNDS blocks in a row from there; where the drive ends, as far before it. Raises ValueError: too short."""
    if len(blocks) < ROUNDS:
        raise ValueError(f"a drive too short for {ROUNDS} blocks in a row")
    start = min(start, len(blocks) - ROUNDS)
    chain = list(blocks[start : start + ROUNDS])
    assert all(one.end_tick <= two.first_tick for one, two in pairwise(chain))
    return chain


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _free_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    rows, copied = measure(default_drive(), lambda line: print(line, file=sys.stderr))
    print_kernels(rows, copied)
    write_json(options.json, report(rows, copied))
    return 0


if __name__ == "__main__":
    sys.exit(main())
