"""All benchmarks, in a size that ends within ten minutes: `make bench`.

One log of each car (both reference drives), and of wide cars fewer signals than `python -m benchmarks.codec` takes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import codec, decoder, kernels
from benchmarks.recordings import missing_note, our_car, recorded_cars
from benchmarks.screen import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUES_MAX = 600_000  # of ours and of recordings; the reference drives are measured whole
OUR_LOGS = 2


def tasks() -> list[codec.Task]:
    """Logs by car; a prior is trained on the car's log before it, be that measured or not."""
    ours, recorded = our_car(), recorded_cars()
    chosen = [codec.Task(ours, log, VALUES_MAX) for log in ours.logs[:OUR_LOGS]]
    for car in recorded:
        if car.name == "reference-drives":
            chosen += [codec.Task(car, log) for log in car.logs]
        else:
            chosen.append(codec.Task(car, car.logs[0], VALUES_MAX))
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)

    def said(line: str) -> None:
        print(line, file=sys.stderr)

    note = missing_note()
    if note:
        said(note)
    measured = codec.measure_all(tasks(), said)
    codec.show(measured, note)
    cars = decoder.default_cars()
    decoded = [one for car in cars for log in car.logs for one in decoder.measure(log, car.dbcs)]
    decoder.show(decoded, note)
    rows, copied = kernels.measure(kernels.default_drive(), said)
    kernels.show(rows, copied)
    document = {
        "codec": codec.report(measured, note),
        "decoder": decoder.report(decoded, note),
        "kernels": kernels.report(rows, copied),
    }
    write_json(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
