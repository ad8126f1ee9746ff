"""Trains the built-in prior on the drives that are shipped: `make prior` writes codec/built_in.prior.

One row serves every signal of every schema, so it holds what vehicle signals have in common, and nothing of these. It is
trained at everyday, tight and lossless thresholds alike, and with blocks of 1 s and of 10 s.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.sampled import our_drives
from codec.training import train_built_in

OUTPUT = Path(__file__).resolve().parent.parent / "codec" / "built_in.prior"
SHARES = (1.0, 0.1, 0.0)
BLOCKS = (50, 500)


def main() -> None:
    drives = [
        (drive.with_thresholds(share).schema, run)
        for drive in our_drives()
        for share in SHARES
        for run in drive.runs
    ]
    prior = train_built_in(drives, blocks=BLOCKS)
    OUTPUT.write_bytes(prior.content)
    print(f"{OUTPUT.name}: {len(prior.content)} bytes, {prior.hash.hex()}, from {len(drives)} drives")


if __name__ == "__main__":
    main()
