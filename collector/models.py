"""`collector model`: Isolation Forests are trained on what is stored, measured, listed, and asked.

Rules
- What a model is trained on, measured on and asked in the stream are the same numbers, by the same code: of the first record of each
  second, means over `smooth_s` seconds, of the seconds in which every feature is available.
- The newer third of each vehicle's seconds is held out of the training: confidence is reckoned on it alone.
- A model is never overwritten: the next one of its name has the next version.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collector import times
from collector.detectors.bound import inputs_of
from collector.detectors.detection import Detection, Detectors
from collector.detectors.forest import FILE_BYTES_MAX, Forest, ForestError, Header, next_version
from collector.detectors.settings import DetectorSettings
from collector.detectors.window import Window, measured
from collector.extras import how_to_install
from collector.query import PRINTERS
from collector.reading.moments import as_ns
from collector.reading.signals import nearest
from collector.store import Store, open_store
from collector.words import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from collector.detectors.episodes import Episode
    from collector.detectors.forest import Feature
    from collector.store.stored import StreamSpan

SUFFIX = ".forest"
TRAINED_SHARE = 2 / 3
SECONDS_MAX = 10_000_000  # of all vehicles: 4 months, and 80 MB a feature
TREES_MAX, TREE_SAMPLES_MAX = 1000, 4096
SHOWN = (0.9, 0.99, 0.999)
LIST_COLUMNS = (
    "model", "signals", "smooth_s", "samples", "vehicles", "trees", "trained_at", "library", "bytes", "sha256",
)  # fmt: skip
PREDICTED = ("score", "confidence", "leading")


class ModelError(ValueError):
    """A model or sample that cannot be used; the message names it and says what to do."""


def read_model(path: Path) -> Forest:
    """Raises ModelError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ModelError(f"{path}: larger than any model is ({FILE_BYTES_MAX} bytes)")
        return Forest.from_bytes(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except ForestError as error:
        raise ModelError(f"{path}: {error}; `collector model train` makes one") from None


def load_detectors(settings: DetectorSettings) -> Detectors:
    """With their models. Raises ModelError and DetectorSettingsError."""
    return Detectors(settings, tuple(read_model(Path(path)) for path in settings.models))


@dataclass(frozen=True, slots=True)
class Range:
    """What of the store is meant."""

    vins: tuple[str, ...]
    start_ns: int | None
    end_ns: int | None

    @classmethod
    def of(cls, store: Store, options: argparse.Namespace) -> Range:
        now_ns = time.time_ns()
        vins = tuple(store.vehicle(vin).vin for vin in options.vin or ()) or tuple(store.vins())
        return cls(vins, as_ns(options.start, now_ns), as_ns(options.end, now_ns))

    def spans(self, store: Store) -> Iterator[StreamSpan]:
        for vin in self.vins:
            yield from store.spans(vin, self.start_ns, self.end_ns)


def run_train(options: argparse.Namespace) -> None:
    """Train and write. Raises ModelError, QueryError, StoreError."""
    try:
        import sklearn as _  # noqa: F401
    except ImportError:
        raise ModelError(f"scikit-learn trains models, and is missing: {how_to_install('models')}") from None
    from collector.detectors import training

    if not (1 <= options.trees <= TREES_MAX and 2 <= options.tree_samples <= TREE_SAMPLES_MAX):
        raise ModelError(
            f"--trees must be 1 to {TREES_MAX}, --tree-samples 2 to {TREE_SAMPLES_MAX}: more makes files large, not sharp"
        )
    store = open_store(options.store)
    of = Range.of(store, options)
    features = training.features(_chosen(store, of, options.signals))
    blank = _header(options, features, of.vins)
    parts = [_samples(store, replace(of, vins=(vin,)), blank) for vin in of.vins]
    cuts = [int(len(part) * TRAINED_SHARE) for part in parts]
    older = np.concatenate([part[:cut] for part, cut in zip(parts, cuts, strict=True)])
    newer = np.concatenate([part[cut:] for part, cut in zip(parts, cuts, strict=True)])
    if min(len(older), len(newer)) < training.SAMPLES_MIN // 2:
        raise ModelError(
            f"{len(older) + len(newer)} seconds have all of {', '.join(one.signal for one in features)}: too few to learn from, "
            f"it takes {training.SAMPLES_MIN}; choose fewer --signals, or a longer range"
        )
    forest = training.fit(blank, older, newer, trees=options.trees, tree_samples=options.tree_samples)
    path = write_model(options.models, forest)
    print(
        f"{path}: {forest.id}, {counted(len(features), 'signal')}, {options.trees} trees, trained on {len(older):,} seconds of "
        f"{counted(len(of.vins), 'vehicle')}, {len(newer):,} held out"
    )
    beyond = forest.judge(older).confidence
    print(
        "of the seconds that it was trained on, "
        + ", ".join(
            f"{(beyond >= share).mean():.2%} have a confidence of {share:g} or more" for share in SHOWN
        )
    )


def _header(options: argparse.Namespace, features: tuple[Feature, ...], vins: tuple[str, ...]) -> Header:
    known = [path.name.removesuffix(SUFFIX) for path in options.models.glob(f"*{SUFFIX}")]
    try:
        return Header(
            name=options.name,
            version=next_version(known, options.name),
            library="",
            trained_at=times.to_text(time.time_ns()),
            vehicles=vins,
            samples=1,
            expected_depth=1.0,
            smooth_s=options.smooth_s,
            features=features,
        )
    except ForestError as error:
        raise ModelError(str(error)) from None


def write_model(folder: Path, forest: Forest) -> Path:
    """Whole or not at all. Raises ModelError."""
    path = folder / f"{forest.id}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_bytes(forest.to_bytes())
        os.link(beside, path)  # refused where it is there already
        beside.unlink()
    except OSError as error:
        raise ModelError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _chosen(store: Store, of: Range, wanted: str | None) -> list[tuple[str, str]]:
    """(signal, unit) of those that were asked for, or of all measurements that every stream in the range has."""
    found: list[dict[str, str]] = []
    for span in of.spans(store):
        known = measured(span.schema)
        signals = [span.schema.signals[column] for column in known.columns]
        found.append({one.name: one.unit for one in signals if not one.circular})
    if not found:
        raise ModelError(
            f"{store.address}: nothing is stored of {', '.join(of.vins) or 'any vehicle'} in that range"
        )
    everywhere = {
        name: unit for name, unit in found[0].items() if all(one.get(name) == unit for one in found[1:])
    }
    names = [name.strip() for name in wanted.split(",")] if wanted else list(everywhere)
    for name in names:
        if name not in everywhere:
            somewhere = any(name in one for one in found)
            why = (
                "is not in every stream of that range, or not in one unit"
                if somewhere
                else f"is no measurement there; {nearest(name, list(everywhere))}"
            )
            raise ModelError(f"signal {name} {why}")
    if not names:
        raise ModelError(
            "the streams of that range have no measurement in common; choose vehicles with --vin"
        )
    return [(name, everywhere[name]) for name in names]


def _samples(store: Store, of: Range, header: Header) -> NDArray[np.float64]:
    """Physical values [n, f] of the seconds in which every feature is available, in order."""
    parts = [np.empty((0, len(header.features)))]
    left = SECONDS_MAX
    for span in of.spans(store):
        known = measured(span.schema)
        inputs = inputs_of(header.features, header.smooth_s, known)
        if inputs is None:
            continue
        window = Window(known, max(header.smooth_s, 2))
        for run in store.runs_of(span, of.start_ns, of.end_ns):
            taken = known.seconds(run.records, window.last_second)
            if taken.ticks and left > 0:
                values = inputs.values(window, taken)
                parts.append(values[~np.isnan(values).any(axis=1)])
                left -= len(parts[-1])
                window.take(taken)
    return np.concatenate(parts)


def run_evaluate(options: argparse.Namespace) -> None:
    """Print how a model does on stored records. Raises ModelError, QueryError, StoreError."""
    store, forest = open_store(options.store), read_model(options.model)
    of = Range.of(store, options)
    values = _samples(store, of, forest.header)
    if not len(values):
        raise ModelError(
            f"no second in that range has all signals of {forest.id}: {', '.join(forest.signals)}"
        )
    confidence = forest.judge(values).confidence
    print(f"{forest.id}: {len(values):,} seconds of {counted(len(of.vins), 'vehicle')}")
    for share in sorted({*SHOWN, options.confidence}):
        print(f"  confidence {share:g} or more: {(confidence >= share).mean():.3%} of them")
    now_ns = time.time_ns()
    faulty = [(as_ns(start, now_ns) or 0, as_ns(end, now_ns) or 0) for start, end in options.faulty or ()]
    settings = DetectorSettings(
        zscore=False, confidence=options.confidence, window_s=max(120, forest.header.smooth_s)
    )
    alarms = [alarm for span in of.spans(store) for alarm in _alarms(store, of, span, settings, forest)]
    print(f"  {len(alarms)} episodes at {options.confidence:g}")
    if faulty:
        for line in judged(alarms, faulty):
            print(f"  {line}")


def _alarms(
    store: Store, of: Range, span: StreamSpan, settings: DetectorSettings, forest: Forest
) -> list[tuple[int, int]]:
    """First and last wall times of the episodes in one stream."""
    detection = Detection(Detectors(settings, (forest,)), span.schema, 0)
    found: dict[int, Episode] = {}
    for run in store.runs_of(span, of.start_ns, of.end_ns):
        found |= {one.first_tick: one for one in detection.take(run.records)}
    return [(span.wall_ns(one.first_tick), span.wall_ns(one.last_tick)) for one in found.values()]


def judged(alarms: Sequence[tuple[int, int]], faulty: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Precision, recall and lead time, as lines: an alarm is true if it touches a stretch [start_ns, end_ns) that is faulty."""
    true = [any(first < end and last >= start for start, end in faulty) for first, last in alarms]
    leads = [
        (end - max(start, min(firsts))) / times.NS
        for start, end in faulty
        if (firsts := [first for first, last in alarms if first < end and last >= start])
    ]
    yield f"precision {sum(true)}/{len(alarms)}" + (f" = {sum(true) / len(alarms):.2f}" if alarms else "")
    yield f"recall {len(leads)}/{len(faulty)} = {len(leads) / len(faulty):.2f}"
    if leads:
        yield f"lead time until the end of a faulty stretch: median {np.median(leads):.0f} s, least {min(leads):.0f} s"


def run_list(options: argparse.Namespace) -> None:
    """Print the models of a folder; one that cannot be read is named, and the rest listed."""
    PRINTERS[options.format](LIST_COLUMNS, _listed(sorted(options.models.glob(f"*{SUFFIX}"))))


def _listed(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        try:
            forest = read_model(path)
        except ModelError as error:
            print(f"collector: {error}", file=sys.stderr)
            continue
        yield {
            "model": forest.id,
            "signals": ", ".join(forest.signals),
            "smooth_s": forest.header.smooth_s,
            "samples": forest.header.samples,
            "vehicles": len(forest.header.vehicles),
            "trees": len(forest.trees.roots),
            "trained_at": forest.header.trained_at,
            "library": forest.header.library,
            "bytes": path.stat().st_size,
            "sha256": forest.sha256,
        }


def run_predict(options: argparse.Namespace) -> None:
    """Judge one sample, or each row of a file. Raises ModelError."""
    forest = read_model(options.model)
    if options.sample is not None:
        text = sys.stdin.read() if options.sample == "-" else options.sample
        try:
            sample = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f'the sample is not JSON: {error}; write {{"signal": value, ...}}') from None
        rows = [sample]
        if not isinstance(sample, dict):
            raise ModelError('the sample must be an object: {"signal": value, ...}')
    else:
        rows = _table(options.file)
    PRINTERS[options.format](PREDICTED, iter(predicted(forest, rows)))


def predicted(forest: Forest, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row each; None where a signal has no value. Values count as they stand: nobody smooths them. Raises ModelError."""
    values = np.full((len(rows), len(forest.signals)), np.nan)
    for at, row in enumerate(rows):
        for column, name in enumerate(forest.signals):
            if name not in row:
                raise ModelError(
                    f"sample {at + 1} has no signal {name}; {forest.id} takes {', '.join(forest.signals)}"
                )
            values[at, column] = _number(row[name], name, at)
    whole = np.isfinite(values).all(axis=1)
    found = forest.judge(np.where(whole[:, None], values, 0.0))
    return [
        {
            "score": float(found.score[at]),
            "confidence": float(found.confidence[at]),
            "leading": forest.signals[found.leading[at]],
        }
        if whole[at]
        else dict.fromkeys(PREDICTED)
        for at in range(len(rows))
    ]


def _number(value: Any, name: str, at: int) -> float:
    if value is None or value == "":
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ModelError(f"sample {at + 1}: {name} is {value!r}, which is no number") from None


def _table(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            from pyarrow import ArrowException, parquet

            try:
                rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
            except ArrowException as error:
                raise ModelError(f"{path}: is no Parquet file: {error}") from None
            return rows
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path}: is no CSV file: {error}") from None
