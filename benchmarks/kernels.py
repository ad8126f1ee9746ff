"""Values per second through the codec on one core: `python -m benchmarks.kernels`.

Rules
- Whole blocks through StreamEncoder and StreamDecoder, as agent and collector call them, not kernels in a loop.
- One stream: block after block of one drive. Interleaved: a block of every stream in turn, each stream with an encoder,
  a decoder and data of its own (another stretch of the drives), so that no state is in a cache when its turn comes;
  decoded by `decode_all`, TOGETHER at a time, as a collector's blocks come in.
- Seconds are of processor time, so that others on the machine do not count.
- A stream's state is what its decoder keeps between blocks, all Python objects included, as tracemalloc counts it.
- The yardstick is what numpy copies, in the same run: bytes read and bytes written. A value is 8 bytes.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

import codec
from benchmarks.recordings import our_car, recorded_cars
from benchmarks.sampled import SampledDrive, sample_drive
from benchmarks.schemes.ours import KEYFRAME_S, STREAM_ID
from benchmarks.screen import console, write_json
from codec.kernel import kernels_from, library_of
from codec.library import Library, Unfit
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder, decode_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codec.records import Records

RATE_HZ = 50
FLEET = 5000
ROUNDS = 3  # blocks of each interleaved stream: a keyframe and what builds on it
CASES = (("given", 1.0, 1.0), ("given", 1.0, 10.0), ("tenth", 0.1, 10.0), ("lossless", 0.0, 10.0))
FLEET_CASES = CASES[:2]
COPY_BYTES = 1 << 28  # beyond every cache
STREAMS_WEIGHED = 50
TOGETHER = 64  # blocks of a fleet that are decoded in one call
CODEC = Path(codec.__file__).parent


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One way through the codec. The names are the keys of the JSON."""

    kernels: str  # "numba": compiled by it here, for this processor; "compiled": ahead of time, for any of its kind
    streams: int
    thresholds: str
    block_s: float
    values: int
    encode_values_per_s: float
    decode_values_per_s: float
    encode_share_of_bandwidth: float
    decode_share_of_bandwidth: float
    state_bytes_per_stream: float


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
    chains, facts = _streams(drive, block_s, streams)
    encoders = [StreamEncoder(schema, fact) for fact in facts]
    contents: list[list[bytes]] = []
    encode_s = 0.0
    for turn in range(ROUNDS):
        start = time.process_time()
        contents.append([e.encode(chain[turn]).content for e, chain in zip(encoders, chains, strict=True)])
        encode_s += time.process_time() - start
    encoders.clear()
    decode_all([(StreamDecoder(schema, facts[0]), 0, contents[0][0])])  # compiled by now, as in one_stream
    decoders = [StreamDecoder(schema, fact) for fact in facts]
    decode_s = 0.0
    for seq, turn_contents in enumerate(contents):
        start = time.process_time()
        for at in range(0, streams, TOGETHER):
            pairs = zip(decoders[at : at + TOGETHER], turn_contents[at : at + TOGETHER], strict=True)
            decode_all([(decoder, seq, content) for decoder, content in pairs])
        decode_s += time.process_time() - start
    values = sum(chain[turn].counts.size for chain in chains for turn in range(ROUNDS))
    return values, encode_s, decode_s


def state_bytes(drive: SampledDrive, block_s: float) -> float:
    """What the decoder of a stream keeps between blocks, after ROUNDS blocks: the mean of some streams."""
    chains, facts = _streams(drive, block_s, STREAMS_WEIGHED)
    encoded = [
        [encoder.encode(block).content for block in chain]
        for encoder, chain in zip([StreamEncoder(drive.schema, fact) for fact in facts], chains, strict=True)
    ]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    decoders = [StreamDecoder(drive.schema, fact) for fact in facts]
    for decoder, contents in zip(decoders, encoded, strict=True):
        for seq, content in enumerate(contents):
            decoder.decode(seq, content)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(decoders)


def measure(
    drive: SampledDrive, said: Callable[[str], None], fleet: int = FLEET
) -> tuple[list[KernelRow], float]:
    """All rows, and bytes per second that numpy copies."""
    copied = copied_bytes_per_s()
    rows = []
    ways: dict[str, Library | Unfit] = {"numba": Unfit("numba is measured")}
    library = library_of(CODEC)
    if isinstance(library, Library):
        ways["compiled"] = library
    else:
        said(f"kernels compiled ahead of time are not measured: {library.reason}")
    cases = [(1, case) for case in CASES] + [(fleet, case) for case in FLEET_CASES]
    for (streams, case), kernels in product(cases, ways):
        said(f"{streams:,} stream{'s' * (streams > 1)}, {case[0]}, blocks of {case[2]:g} s, {kernels}")
        with kernels_from({CODEC: ways[kernels]}):
            rows.append(_row(kernels, streams, drive, *case, copied))
    return rows, copied


def _row(
    kernels: str,
    streams: int,
    drive: SampledDrive,
    thresholds: str,
    share: float,
    block_s: float,
    copied: float,
) -> KernelRow:
    mine = drive.with_thresholds(share)
    run = one_stream(mine, block_s) if streams == 1 else interleaved(mine, block_s, streams)
    values, encode_s, decode_s = run
    return KernelRow(
        kernels=kernels,
        streams=streams,
        thresholds=thresholds,
        block_s=block_s,
        values=values,
        encode_values_per_s=values / encode_s,
        decode_values_per_s=values / decode_s,
        encode_share_of_bandwidth=8 * values / encode_s / copied,
        decode_share_of_bandwidth=8 * values / decode_s / copied,
        state_bytes_per_stream=state_bytes(mine, block_s),
    )


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


def _streams(
    drive: SampledDrive, block_s: float, streams: int
) -> tuple[list[list[Records]], list[StreamFacts]]:
    """Blocks and facts of so many streams, each from another stretch of the drive."""
    blocks = _blocks(drive, round(block_s * RATE_HZ))
    chains = [_chain(blocks, k * len(blocks) // streams) for k in range(streams)]
    return chains, [
        StreamFacts(number.to_bytes(16), number, chain[0].first_tick) for number, chain in enumerate(chains)
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
    start = time.process_time()
    run()
    return time.process_time() - start


def show(rows: Sequence[KernelRow], copied_bytes_per_s: float) -> None:
    table = Table(box=SIMPLE_HEAD, title="values per second on one core, in millions")
    for heading in ("kernels", "streams", "thresholds", "block", "values"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("encoded", "share", "decoded", "share", "state of\na stream"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.kernels,
            f"{row.streams:,}",
            row.thresholds,
            f"{row.block_s:g} s",
            f"{row.values:,}",
            f"{row.encode_values_per_s / 1e6:,.1f}",
            f"{row.encode_share_of_bandwidth:.2%}",
            f"{row.decode_values_per_s / 1e6:,.1f}",
            f"{row.decode_share_of_bandwidth:.2%}",
            f"{row.state_bytes_per_stream / 1e3:,.1f} kB",
        )
    screen = console()
    screen.print(table)
    screen.print(
        f"share: of what numpy copies on this machine, {copied_bytes_per_s / 1e9:.1f} GB/s read and written; a value is 8 bytes",
        style="dim",
        highlight=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    rows, copied = measure(default_drive(), lambda line: print(line, file=sys.stderr))
    show(rows, copied)
    write_json(options.json, report(rows, copied))
    return 0


if __name__ == "__main__":
    sys.exit(main())
