"""How fast frames become values, beside cantools: `python -m benchmarks.decoder`.

Rules
- cantools decodes each frame with its message looked up in a dictionary, as fast as it can be asked to (no value
  tables, bytes ready made). Both get the same frames in the same process. Seconds are of the processor, so that others
  on the machine count for less.
- Bulk: every value of every frame. Live: what a vehicle does, records at 50 Hz; only the newest payload of each message
  is decoded at a tick.
- Values are compared to the bit. A record's value is compared with the newest that cantools has at that tick.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from cantools.database import errors as cantools_errors
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmarks.codec import InOrder, cars_of, name_of
from benchmarks.recordings import Car, missing_note, our_car, recorded_cars
from benchmarks.sampled import load_bus, load_frames
from benchmarks.screen import LOG_WIDTH_MAX, console, write_json
from codec.records import Availability
from codec.schema import SIGNALS_MAX, physical
from decoder.dbc import DbcError
from decoder.defaults import default_choices
from decoder.kernels import match_frames
from decoder.plan import build_plan
from decoder.sampler import Sampler
from decoder.signals import bus_messages, bus_signals
from decoder.tables import compile_tables
from decoder.values import BulkDecoder
from replay_logs.read import LogError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from codec.records import Records
    from decoder.frames import Frames
    from decoder.plan import Plan
    from decoder.signals import Bus

CALLS = (100, 1000, 10_000)
FRAMES_MAX = 250_000
REPEAT_S = 1.0  # fast paths are run again for so long
REPEATS_MAX = 20
_REFUSED = (cantools_errors.Error, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One way of decoding one log. The names are the keys of the JSON."""

    log: str
    path: str  # bulk or live
    call_frames: int
    frames: int
    frames_per_s: float
    cantools_frames_per_s: float
    ratio: float
    values_compared: int
    mismatches: int
    values_only_ours: int  # of frames that cantools refuses, not compared


class Columns(NamedTuple):
    """k values: frame int64[k] rising, column int64[k], value float64[k]."""

    frame: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]

    def take(self, index: NDArray[Any]) -> Columns:
        return Columns(self.frame[index], self.column[index], self.value[index])


class Truth(NamedTuple):
    """What cantools made of the frames, bool[n] which frames of known messages it refused, and how fast it was."""

    values: Columns
    refused: NDArray[np.bool_]
    frames_per_s: float


def measure(log: Path, dbcs: Sequence[Path]) -> list[Decoded]:
    """Raises LogError, DbcError or ValueError, each with one line."""
    bus, frames = load_bus(dbcs), load_frames(log)
    frames = frames.take(slice(0, FRAMES_MAX))
    truth = by_cantools(bus, frames)
    if not len(truth.values.value):
        raise ValueError(f"{log}: none of its frames is in the DBCs; give the DBCs of this vehicle")
    decoder = BulkDecoder([bus])
    plan = build_plan([bus], default_choices([bus], frames)[:SIGNALS_MAX])
    columns = {name: index for index, name in enumerate(decoder.names)}
    mapped = np.array([columns[name] for name in plan.schema.names])
    completed = _completed(truth, _bulk(decoder, [frames]))
    found = []
    for call in (*(size for size in CALLS if size < len(frames)), len(frames)):
        parts = [frames.take(slice(at, at + call)) for at in range(0, len(frames), call)]
        compared = _compare_bulk(_bulk(decoder, parts), truth, len(decoder.names))
        rate = len(frames) / _best(lambda parts=parts: [decoder.decode_values(part) for part in parts])  # type: ignore[misc]
        found.append(_decoded(log, "bulk", call, frames, rate, truth, compared))
    for call in (*(size for size in CALLS if size < len(frames)), len(frames)):
        parts = [frames.take(slice(at, at + call)) for at in range(0, len(frames), call)]
        compared = _compare_live(plan, _live(plan, parts), frames, mapped, completed)
        rate = len(frames) / _best(lambda parts=parts: _live(plan, parts))  # type: ignore[misc]
        found.append(_decoded(log, "live", call, frames, rate, truth, compared))
    return found


def by_cantools(bus: Bus, frames: Frames) -> Truth:
    """Every frame by cantools; only its calls are timed."""
    messages, _ = bus_messages([bus])
    names = {
        (id(entry.owner.message), entry.signal.name): column
        for column, entry in enumerate(bus_signals([bus], messages))
    }
    matched = _matched(messages, frames)
    found = {int(frames.ids[i]): int(matched[i]) for i in np.unique(frames.ids, return_index=True)[1]}
    decoders = {frame_id: messages[index].message.decode for frame_id, index in found.items() if index >= 0}
    ids = frames.ids.tolist()
    payloads = [row[:length].tobytes() for row, length in zip(frames.data, frames.lengths, strict=True)]
    decoded: list[Any] = [None] * len(ids)

    def decode_all(*, keep: bool) -> None:
        for i, (frame_id, payload) in enumerate(zip(ids, payloads, strict=True)):
            decode = decoders.get(frame_id)
            if decode is None:
                continue
            try:
                values = decode(payload, decode_choices=False, allow_truncated=True)
            except _REFUSED:
                continue
            if keep:
                decoded[i] = values

    elapsed = _best(
        partial(decode_all, keep=False)
    )  # before millions of kept values make garbage collection slow
    decode_all(keep=True)
    rows = [
        (i, names[id(messages[index].message), name], float(value))
        for i, (index, values) in enumerate(zip(matched.tolist(), decoded, strict=True))
        for name, value in (values or {}).items()
    ]
    frame, column, value = zip(*rows, strict=True) if rows else ((), (), ())
    values = Columns(np.array(frame, np.int64), np.array(column, np.int64), np.array(value, np.float64))
    refused = (matched >= 0) & np.array([one is None for one in decoded], np.bool_)
    return Truth(values, refused, len(frames) / elapsed)


def _matched(messages: Sequence[Any], frames: Frames) -> NDArray[np.int32]:
    """Which message each frame is, or -1. Not timed, and cantools has no such thing for J1939."""
    tables = compile_tables(messages, lambda _entry, _signal: -1, 0, {})
    matched = np.empty(len(frames), np.int32)
    match_frames(frames.buses, frames.ids, tables.standard, tables.keys, tables.found, matched)
    return matched


def _bulk(decoder: BulkDecoder, parts: Sequence[Frames]) -> Columns:
    """All values of all parts, in the order of their frames."""
    frame, column, value = [], [], []
    at = 0
    for part in parts:
        values = decoder.decode_values(part)
        frame.append(values.frame + np.int64(at))
        column.append(values.signal.astype(np.int64))
        value.append(values.value)
        at += len(part)
    return Columns(np.concatenate(frame), np.concatenate(column), np.concatenate(value))


def _compare_bulk(ours: Columns, truth: Truth, columns: int) -> tuple[int, int, int]:
    """Values compared; how many differ in any bit or are on one side only; how many only we have.

    The last are of frames that cantools refuses: they are compared with nothing.
    """
    refused = truth.refused[ours.frame]
    ours = ours.take(~refused)
    our_keys = ours.frame * columns + ours.column
    their_keys = truth.values.frame * columns + truth.values.column
    keys, mine, its = np.intersect1d(our_keys, their_keys, return_indices=True)
    one_sided = len(our_keys) + len(their_keys) - 2 * len(keys)
    mismatches = one_sided + _differ(ours.value[mine], truth.values.value[its])
    return len(keys) + one_sided, mismatches, int(np.count_nonzero(refused))


def _completed(truth: Truth, ours: Columns) -> Columns:
    """What cantools decoded, with our values of the frames that it refused, in the order of frames."""
    more = ours.take(truth.refused[ours.frame])
    joined = Columns(*(np.concatenate(pair) for pair in zip(truth.values, more, strict=True)))
    return joined.take(np.argsort(joined.frame, kind="stable"))


def _differ(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> int:
    same = (ours.view(np.uint64) == theirs.view(np.uint64)) | (np.isnan(ours) & np.isnan(theirs))
    return int(np.count_nonzero(~same))


def _live(plan: Plan, parts: Sequence[Frames]) -> list[Records]:
    sampler = Sampler(plan)
    runs = []
    for part in parts:
        sampler.feed(part)
        runs += sampler.advance(None)
    return runs


def _compare_live(
    plan: Plan, runs: Sequence[Records], frames: Frames, mapped: NDArray[np.int64], truth: Columns
) -> tuple[int, int, int]:
    """Each available value of each record against the newest that cantools has for its signal at that tick.

    The sampler's clock never runs backward, so stamps here do not either.
    """
    wanted = _matched(plan.messages, frames) >= 0
    stamps = np.where(wanted, frames.timestamps_ns, np.iinfo(np.int64).min)
    stamps = np.maximum.accumulate(stamps)
    order = np.argsort(truth.column, kind="stable")
    ends = np.searchsorted(truth.column[order], np.arange(int(mapped.max()) + 2))
    times = np.concatenate([np.arange(run.first_tick, run.end_tick) for run in runs]) * plan.schema.period_ns
    counts, states = (
        np.concatenate([run.counts for run in runs]),
        np.concatenate([run.states for run in runs]),
    )
    compared = mismatches = 0
    for column, signal in enumerate(plan.schema.signals):
        mine = order[ends[mapped[column]] : ends[mapped[column] + 1]]
        available = states[:, column] == Availability.AVAILABLE
        newest = np.searchsorted(stamps[truth.frame[mine]], times[available], side="right") - 1
        ours = physical(signal, counts[available, column])
        compared += len(ours)
        known = newest >= 0
        mismatches += int(np.count_nonzero(~known))
        mismatches += _differ(ours[known], truth.value[mine][newest[known]])
    return compared, mismatches, 0


def _best(run: Callable[[], Any]) -> float:
    """Seconds of the fastest of several runs, the first of which only warms up."""
    run()
    best, spent = float("inf"), 0.0
    for _ in range(REPEATS_MAX):
        start = time.process_time()
        run()
        elapsed = time.process_time() - start
        best, spent = min(best, elapsed), spent + elapsed
        if spent > REPEAT_S:
            break
    return best


def _decoded(
    log: Path, path: str, call: int, frames: Frames, rate: float, truth: Truth, compared: tuple[int, int, int]
) -> Decoded:
    theirs = truth.frames_per_s
    return Decoded(name_of(log), path, call, len(frames), rate, theirs, rate / theirs, *compared)


def report(found: Sequence[Decoded], note: str | None) -> dict[str, Any]:
    """The bulk kernel on the first log, in one call; the rest in `rows`."""
    first = next(one for one in found if one.path == "bulk" and one.call_frames == one.frames)
    keys = ("frames", "frames_per_s", "cantools_frames_per_s", "ratio", "values_compared", "mismatches")
    head = {key: value for key, value in asdict(first).items() if key in keys}
    return {**head, "rows": [asdict(one) for one in found], "note": note}


def default_cars(*, logs_each: int = 1) -> list[Car]:
    """The reference drives first, then ours and the recordings."""
    recorded = recorded_cars()
    cars = [*recorded[:1], our_car(), *recorded[1:]]
    return [Car(car.name, car.logs[:logs_each], car.dbcs) for car in cars]


def show(found: Sequence[Decoded], note: str | None) -> None:
    table = Table(box=SIMPLE_HEAD, title="frames per second on one core, in millions")
    for heading in ("log", "path"):
        table.add_column(heading, no_wrap=True, max_width=LOG_WIDTH_MAX)
    for heading in ("frames\na call", "frames/s", "cantools", "ratio", "compared", "mismatches", "only ours"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for one in found:
        table.add_row(
            one.log if one.log != last else "",
            one.path,
            f"{one.call_frames:,}",
            f"{one.frames_per_s / 1e6:,.2f}",
            f"{one.cantools_frames_per_s / 1e6:,.3f}",
            f"{one.ratio:,.1f}",
            f"{one.values_compared:,}",
            Text(f"{one.mismatches:,}" if one.mismatches else "-", "red" if one.mismatches else ""),
            f"{one.values_only_ours:,}" if one.values_only_ours else "-",
        )
        last = one.log
    screen = console()
    screen.print(table)
    screen.print("only ours: values of frames that cantools refuses, compared with nothing", style="dim")
    if note:
        screen.print(note, style="dim", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.decoder", description=__doc__)
    parser.set_defaults(files=[])
    parser.add_argument("--log", type=Path, action=InOrder, help="a log; may be repeated")
    parser.add_argument(
        "--dbc", type=Path, action=InOrder, help="a DBC of the logs before it; may be repeated"
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    try:
        cars = cars_of(options.files, None) or default_cars()
        note = None if options.files else missing_note()
        found = [one for car in cars for log in car.logs for one in measure(log, car.dbcs)]
    except (LogError, DbcError, ValueError, OSError) as error:
        print(f"benchmarks.decoder: {error}", file=sys.stderr)
        return 2
    show(found, note)
    write_json(options.json, report(found, note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
